/**
 * Checks a peer's storage without changing it: both superblocks, every page, every record of the log, and every committed entry: by applying
 * it to a state machine in memory, which must come by the state that the checkpoint has; or, where the log's front was dropped, by decoding it. Nothing is mended here; opening the store does that, where something can be mended.
 */
import { HarmonyError } from '../base/errors.ts'
import { type ClusterId, type Lsn, lsn, type PeerId } from '../base/ids.ts'
import type { Directory, LogFile, PageFile } from '../platform.ts'
import { ApplyMachine } from '../shard/apply.ts'
import { decodeCommand } from '../shard/command.ts'
import { kindOf } from '../shard/group-log.ts'
import { MemoryEngine } from '../storage/memory-engine.ts'
import { type DecodedSuperblock, inspectSuperblocks, type Superblock } from '../storage/superblock.ts'
import { type Replayed, replayLog } from '../storage/wal-replay.ts'
import type { Position, WalRecord } from '../storage/wal-types.ts'
import { GroupReplay } from './group-replay.ts'
import { pairsIn, type StorePair } from './store-files.ts'
import { type CheckedPages, type CheckpointReport, checkPages } from './verify-pages.ts'

export interface Finding {
  /** `damage`: the store cannot be trusted or opened as it is. `note`: what a crash may leave, and opening mends. */
  readonly severity: 'damage' | 'note'
  readonly code: HarmonyError['code'] | undefined
  readonly message: string
}

export interface StoreReport {
  readonly findings: readonly Finding[]
  readonly peer: PeerId | undefined
  readonly cluster: ClusterId | undefined
  readonly log: {
    readonly bytes: number
    readonly records: number
    /** Byte from which on it is read. */
    readonly from: number
    readonly firstIndex: number
    readonly lastIndex: number
    readonly commit: number
  }
  /** The newest one; undefined where there is none, or it cannot be read. */
  readonly checkpoint: CheckpointReport | undefined
  /** After the last entry that is known to be committed; as the checkpoint has it where the log's front was dropped. */
  readonly state: {
    readonly keys: number
    readonly bytes: number
    readonly fingerprint: number
    /** Transactions that wait for a decision. */
    readonly prepared: number
  }
}

/** Told now and then, after the pages were read; `step` 1 of 2 reads the log, 2 of 2 applies it. Bytes of the log. */
export type VerifyProgress = (step: 1 | 2, doneBytes: number, totalBytes: number) => void

const progressEveryBytes = 8 * 1024 * 1024
const nothing = { keys: 0, bytes: 0 }

/** Never fails: whatever cannot be read is a finding. The directory stays open. */
export function verifyStore(directory: Directory, progress: VerifyProgress, done: (report: StoreReport) => void): void {
  new Verification(directory, progress, done).run()
}

class Verification {
  private readonly directory: Directory
  private readonly progress: VerifyProgress
  private readonly done: (report: StoreReport) => void
  private readonly findings: Finding[] = []
  private superblock: Superblock | undefined
  private replay = new GroupReplay(undefined)
  private pages: CheckedPages | undefined
  private records = 0
  private logBytes = 0
  private readonly engine = new MemoryEngine()
  private machine: ApplyMachine | undefined

  constructor(directory: Directory, progress: VerifyProgress, done: (report: StoreReport) => void) {
    this.directory = directory
    this.progress = progress
    this.done = done
  }

  run(): void {
    this.directory.list(names => {
      if (!names.ok) return this.end(names.error)
      const [pair] = pairsIn(names.value)
      for (const name of [pair.pages, pair.log]) {
        if (names.value.includes(name)) continue
        return this.end(new HarmonyError('CORRUPT', `there is no file "${name}": this is no whole store`))
      }
      this.directory.openPages(pair.pages, pages => {
        if (!pages.ok) return this.end(pages.error)
        this.superblocks(pages.value, pair)
      })
    })
  }

  private superblocks(pages: PageFile, pair: StorePair): void {
    inspectSuperblocks(pages, blocks => {
      if (!blocks.ok) return pages.close(() => this.end(blocks.error))
      this.judge(blocks.value)
      const next = (): void =>
        pages.close(() => {
          this.directory.openLog(pair.log, log => {
            if (!log.ok) return this.end(log.error)
            this.log(log.value)
          })
        })
      if (this.superblock === undefined) return next()
      const damaged = (message: string, error?: HarmonyError): void =>
        this.find('damage', error?.code ?? 'CORRUPT', message)
      checkPages(pages, this.superblock, damaged, checked => {
        this.pages = checked
        this.replay = new GroupReplay(checked.note)
        next()
      })
    })
  }

  private judge(blocks: readonly [DecodedSuperblock, DecodedSuperblock]): void {
    const valid = blocks.flatMap(block => (block.state === 'valid' ? [block.block] : []))
    valid.sort((a, b) => b.epoch - a.epoch)
    this.superblock = valid[0]
    for (const [place, { state }] of blocks.entries()) {
      if (state === 'valid' || (state === 'empty' && valid.length > 0)) continue
      const message = `superblock ${place + 1} of 2 is ${state}`
      if (state === 'newer') this.find('damage', 'VERSION_MISMATCH', `${message} than this program`)
      else if (valid.length === 0) this.find('damage', 'CORRUPT', `${message}, and the other is not valid either`)
      else
        this.find(
          'note',
          undefined,
          `${message}: a crash in the middle of writing it, or damage; the other one is valid`,
        )
    }
  }

  private log(log: LogFile): void {
    this.logBytes = log.end - this.replay.from
    const end = (): void => log.close(() => this.end(undefined))
    let wrong = false
    const visit = (record: WalRecord, position: Position): void => {
      this.records++
      this.tell(1, position)
      const what = this.replay.visit(record, position)
      if (what === undefined || wrong) return
      wrong = true
      this.find('damage', 'CORRUPT', `the log record at byte ${position.lsn} is not what HarmonyDB writes: ${what}`)
    }
    this.pass(log, visit, replayed => {
      if (replayed === undefined || wrong) return end()
      if (replayed.cutBytes > 0) {
        const message = `${replayed.cutBytes} bytes of an unfinished write stand at the end of the log, at byte ${replayed.end}: opening cuts them`
        this.find('note', undefined, message)
      }
      this.logBytes = replayed.end - this.replay.from
      this.apply(log, end)
    })
  }

  /** The log again, this time only what is in force: an entry may have been replaced by a later record. */
  private apply(log: LogFile, end: () => void): void {
    const group = this.replay.result()
    if (group === undefined) {
      if (this.records > 0 || (this.superblock?.durableLsn ?? 0) > 0) {
        this.find('damage', 'CORRUPT', 'the log does not say which cluster it belongs to: its beginning was lost')
      }
      return end()
    }
    const { commit } = group.log.hardState
    const { base } = group.log
    const machine = base.index === 0 ? new ApplyMachine(this.engine, group.cluster) : undefined
    this.machine = machine
    let failed = false
    const visit = (record: WalRecord, position: Position): void => {
      this.tell(2, position)
      if (failed || record.type !== 'entry' || record.index > commit) return
      if (group.positions.get(record.index).lsn !== position.lsn) return
      const kind = kindOf(record.kind)
      if (kind === undefined) return
      try {
        if (machine !== undefined) {
          machine.apply([{ index: record.index, term: record.term, kind, data: record.data }], 0, () => {})
          this.compare(machine)
        } else if (kind === 'command') {
          const command = decodeCommand(record.data)
          if (!command.ok) throw command.error
        }
      } catch (error) {
        failed = true
        const code = error instanceof HarmonyError ? error.code : 'CORRUPT'
        const why = error instanceof Error ? error.message : String(error)
        this.find('damage', code, `entry ${record.index} at byte ${position.lsn} of the log cannot be applied: ${why}`)
      }
    }
    const { checkpoint } = this.pages ?? {}
    if (base.index > (checkpoint?.applied ?? 0)) {
      this.find(
        'damage',
        'CORRUPT',
        `the log begins behind entry ${base.index}, and no checkpoint has what lies before`,
      )
    }
    if (checkpoint !== undefined && checkpoint.applied > group.log.lastIndex) {
      const message = `the log ends at entry ${group.log.lastIndex}, before the checkpoint at ${checkpoint.applied}: its end was lost`
      this.find('damage', 'CORRUPT', message)
    }
    this.pass(log, visit, end)
  }

  /** Where the pages' state was written, the log's must be the same. */
  private compare(machine: ApplyMachine): void {
    const note = this.pages?.note?.machine
    if (note?.applied !== machine.applied || note.fingerprint === machine.fingerprint) return
    const message = `the pages hold another state at entry ${note.applied} than the log makes`
    this.find('damage', 'CORRUPT', message)
  }

  private pass(
    log: LogFile,
    visit: (record: WalRecord, position: Position) => void,
    then: (replayed: Replayed | undefined) => void,
  ): void {
    const durableMark = this.superblock?.durableLsn ?? lsn(0)
    replayLog(log, { from: this.replay.from, durableMark, visit }, replayed => {
      if (!replayed.ok) this.find('damage', replayed.error.code, replayed.error.message)
      then(replayed.ok ? replayed.value : undefined)
    })
  }

  private told: Lsn = lsn(0)
  private tell(step: 1 | 2, { lsn: at }: Position): void {
    if (at >= this.told && at - this.told < progressEveryBytes) return
    this.told = at
    this.progress(step, at - this.replay.from, this.logBytes)
  }

  private find(severity: Finding['severity'], code: Finding['code'], message: string): void {
    this.findings.push({ severity, code, message })
  }

  private end(error: HarmonyError | undefined): void {
    if (error !== undefined) this.find('damage', error.code, error.message)
    const group = this.replay.result()
    const { machine, pages } = this
    const { keys, bytes } = machine === undefined ? (pages?.checkpoint ?? nothing) : this.engine.status()
    const note = pages?.note?.machine
    const fingerprint = machine?.fingerprint ?? note?.fingerprint ?? 0
    const prepared = machine?.prepared.size ?? note?.prepared.kept.length ?? 0
    this.done({
      findings: this.findings,
      peer: this.superblock?.peerId,
      cluster: group?.cluster,
      log: {
        bytes: this.logBytes,
        records: this.records,
        from: this.replay.from,
        firstIndex: (group?.log.base.index ?? 0) + 1,
        lastIndex: group?.log.lastIndex ?? 0,
        commit: group?.log.hardState.commit ?? 0,
      },
      checkpoint: pages?.checkpoint,
      state: { keys, bytes, fingerprint, prepared },
    })
  }
}
