/** What the tests of the write-ahead log share. */
import { hexEncode } from '../../../src/base/bytes.ts'
import type { HarmonyError } from '../../../src/base/errors.ts'
import { clusterId, groupId, index, lsn, peerId, term } from '../../../src/base/ids.ts'
import type { SeededRandom } from '../../../src/base/random.ts'
import { type OpenedWal, Wal } from '../../../src/storage/wal.ts'
import type { Position, WalRecord } from '../../../src/storage/wal-types.ts'
import type { FakeLog } from './fake-log.ts'

export interface Opened extends OpenedWal {
  readonly records: WalRecord[]
  readonly positions: Position[]
}

export type OpenResult = Opened | HarmonyError

export function openLog(log: FakeLog, durableMark = 0): OpenResult {
  const records: WalRecord[] = []
  const positions: Position[] = []
  let outcome: OpenResult | undefined
  const visit = (record: WalRecord, position: Position): void => {
    records.push(record)
    positions.push(position)
  }
  Wal.open(log, { durableMark: lsn(durableMark), visit }, result => {
    outcome = result.ok ? { ...result.value, records, positions } : result.error
  })
  log.settle()
  if (outcome === undefined) throw new Error('open did not complete')
  return outcome
}

export function mustOpen(log: FakeLog, durableMark = 0): Opened {
  const outcome = openLog(log, durableMark)
  if (outcome instanceof Error) throw outcome
  return outcome
}

/** Records as text: comparing bytes one by one with `toEqual` takes most of a test's time. */
export const show = (records: readonly WalRecord[]): string[] => records.map(showOne)

function showOne(record: WalRecord): string {
  switch (record.type) {
    case 'entry': {
      const { group, index: at, term: of, kind, data } = record
      return `entry ${group} ${at} ${of} ${kind} ${hexEncode(data)}`
    }
    case 'hardState': {
      const { group, term: of, vote, commit } = record
      return `hardState ${group} ${of} ${vote} ${commit}`
    }
    case 'birth':
      return `birth ${record.group} ${record.cluster} ${hexEncode(record.birth)}`
  }
}

export function entry(at: number, dataBytes = 20, of = 1): WalRecord {
  const data = new Uint8Array(dataBytes)
  for (let i = 0; i < dataBytes; i++) data[i] = (at * 31 + i * 7) & 0xff
  return { type: 'entry', group: groupId(0), index: index(at), term: term(of), kind: 1, data }
}

export function randomRecord(random: SeededRandom): WalRecord {
  const group = groupId(random.below(random.chance(0.9) ? 3 : 2 ** 32))
  const bytes = new Uint8Array(random.chance(0.05) ? random.below(6000) : random.below(150))
  if (random.chance(0.5)) random.fill(bytes)
  const hex = (): string => Array.from({ length: 4 }, () => random.uint32().toString(16).padStart(8, '0')).join('')
  const big = (): number => (random.chance(0.1) ? Number.MAX_SAFE_INTEGER - random.below(9) : random.below(1000))
  switch (random.below(4)) {
    case 0: {
      const vote = random.chance(0.5) ? peerId(hex()) : undefined
      return { type: 'hardState', group, term: term(big()), vote, commit: index(big()) }
    }
    case 1:
      return { type: 'birth', group, cluster: clusterId(hex()), birth: bytes }
    default:
      return { type: 'entry', group, index: index(big()), term: term(big()), kind: random.below(256), data: bytes }
  }
}
