/**
 * Is what a command read still as it was? Its checks of keys and ranges, against the state before its entry: backward validation (Kung and Robinson, "On optimistic
 * methods for concurrency control", 1981) by versions instead of the write sets of others, so that nothing has to be remembered.
 *
 * Checks and ranges are made in steps of a few keys each, so that a small cache is enough for them; nothing changes in between, because entries are applied
 * one after the other, and a state that was received waits for that. Those of writes that are done together are looked up before all of them, and each write is told what those before
 * it wrote (`ChecksInOrder`).
 */
import { keyBehind } from '../base/bytes.ts'
import { type Timestamp, timestamp } from '../base/ids.ts'
import { KeyMap } from '../base/key-map.ts'
import { repeat } from '../base/repeat.ts'
import { timestampOf } from '../mvcc/versioned.ts'
import type { Completion } from '../platform.ts'
import type { Engine, EngineSnapshot, View } from '../storage/engine.ts'
import type { RangeCheck, Write, WriteCheck, WriteOp } from './command.ts'
import type { Outcome } from './sessions.ts'

type Conflict = Extract<Outcome, { type: 'conflict' }>

const checksAtOnce = 16
const rowsAtOnce = 64

/** Checks of writes that are done one after the other, and take effect together. */
export class ChecksInOrder {
  private readonly found: readonly Timestamp[]
  private next = 0
  private readonly written = new KeyMap<Timestamp>()

  /** @param found By each check of all writes, in order, before the first write. */
  constructor(found: readonly Timestamp[]) {
    this.found = found
  }

  /** To be called for each write, also for one that will not be done. */
  failed({ checks }: Write): Conflict | undefined {
    const from = this.next
    this.next += checks.length
    for (let i = 0; i < checks.length; i++) {
      const { key, at } = checks[i]!
      const written = this.written.get(key)
      const found = written ?? this.found[from + i]!
      if (found !== at) return { type: 'conflict', check: i, found }
    }
    return undefined
  }

  wrote(ops: readonly WriteOp[], at: Timestamp): void {
    // Nobody is left to ask.
    if (this.next === this.found.length) return
    for (const { type, key } of ops) this.written.set(key, type === 'put' ? at : absent)
  }
}

const absent = timestamp(0)

/** The timestamp of each key, 0 where it is absent. Nothing may change before it is done. */
export function lookUp(engine: Engine, checks: readonly WriteCheck[], done: Completion<readonly Timestamp[]>): void {
  const found: Timestamp[] = []
  repeat(again => {
    const from = found.length
    if (from === checks.length) return done({ ok: true, value: found })
    engine.read(
      view => {
        const some: Timestamp[] = []
        const to = Math.min(checks.length, from + checksAtOnce)
        for (let i = from; i < to; i++) some.push(foundAt(view, checks[i]!.key))
        return some
      },
      read => {
        if (!read.ok) return done(read)
        for (const at of read.value) found.push(at)
        again()
      },
    )
  })
}

/** Undefined: all hold. Where the state was given up meanwhile: SNAPSHOT_TOO_OLD. */
export function validate(engine: Engine, command: Write, done: Completion<Conflict | undefined>): void {
  engine.snapshot(taken => {
    if (taken.ok) new Validation(taken.value, command, done).step()
    else done(taken)
  })
}

class Validation {
  private readonly snapshot: EngineSnapshot
  private readonly command: Write
  private readonly done: Completion<Conflict | undefined>
  private check = 0
  private range = 0
  /** Of the range: keys seen, and where it goes on. */
  private seen = 0
  private from: Uint8Array | undefined
  private stepping = false

  constructor(snapshot: EngineSnapshot, command: Write, done: Completion<Conflict | undefined>) {
    this.snapshot = snapshot
    this.command = command
    this.done = done
    this.from = command.ranges[0]?.from
  }

  /** One after the other, in a loop where nothing has to be waited for. */
  step(): void {
    if (this.stepping) return
    this.stepping = true
    let again = true
    while (again) {
      again = false
      let returned = false
      this.next(goesOn => {
        if (goesOn && !returned) again = true
        else if (goesOn) this.step()
      })
      returned = true
      if (!again) this.stepping = false
    }
  }

  private next(then: (goesOn: boolean) => void): void {
    const { checks, ranges } = this.command
    if (this.check < checks.length) {
      const to = Math.min(checks.length, this.check + checksAtOnce)
      this.read(
        view => firstFailed(view, checks, this.check, to),
        conflict => {
          if (conflict !== undefined) return this.end(conflict)
          this.check = to
          then(true)
        },
      )
      return
    }
    const range = ranges[this.range]
    if (range === undefined) return this.end(undefined)
    this.read(
      view => rowsOf(view, range, this.from),
      ({ rows, newer, last }) => {
        this.seen += rows
        const over = rows < rowsAtOnce
        if (newer > 0 || (over && this.seen !== range.count)) {
          return this.end({ type: 'conflict', check: checks.length + this.range, found: timestamp(newer) })
        }
        if (over) {
          this.range++
          this.seen = 0
          this.from = ranges[this.range]?.from
        } else this.from = keyBehind(last)
        then(true)
      },
    )
  }

  private read<T>(operation: (view: View) => T, then: (result: T) => void): void {
    this.snapshot.read(operation, result => {
      if (result.ok) return then(result.value)
      this.snapshot.release()
      this.done(result)
    })
  }

  private end(conflict: Conflict | undefined): void {
    this.snapshot.release()
    this.done({ ok: true, value: conflict })
  }
}

function firstFailed(view: View, checks: readonly WriteCheck[], from: number, to: number): Conflict | undefined {
  for (let i = from; i < to; i++) {
    const { key, at } = checks[i]!
    const found = foundAt(view, key)
    if (found !== at) return { type: 'conflict', check: i, found }
  }
  return undefined
}

function foundAt(view: View, key: Uint8Array): Timestamp {
  const row = view.find(key)
  return row === undefined ? absent : timestampOf(row.value, row.valueFrom, row.valueTo)
}

interface Rows {
  readonly rows: number
  /** The timestamp of a key that is newer than it may be; 0: none is. */
  readonly newer: number
  readonly last: Uint8Array
}

function rowsOf(view: View, { to, at }: RangeCheck, from: Uint8Array | undefined): Rows {
  let rows = 0
  let newer = 0
  let last = new Uint8Array(0)
  view.scan(from, to, false, ({ key, keyBytes, value, valueFrom, valueTo }) => {
    rows++
    const found = timestampOf(value, valueFrom, valueTo)
    if (found > at) newer = found
    if (rows === rowsAtOnce) last = key.slice(0, keyBytes)
    return newer === 0 && rows < rowsAtOnce
  })
  return { rows, newer, last }
}
