/** Fills an engine with a state that was received (`snapshot-sink.ts`). */
import { repeat } from '../base/repeat.ts'
import type { Done } from '../platform.ts'
import type { Engine } from '../storage/engine.ts'
import type { ApplyMachine } from './apply.ts'
import type { ReceivedSnapshot } from './snapshot-sink.ts'

/** What was there is gone at once, in memory; on disk it stays until the next checkpoint. Errors: CORRUPT, those of the storage. */
export function install(machine: ApplyMachine, engine: Engine, { note, next }: ReceivedSnapshot, done: Done): void {
  machine.reset()
  repeat(again =>
    next(read => {
      if (!read.ok) done(read.error)
      else if (read.value === undefined) machine.install(note, done)
      else engine.load(read.value, error => (error === undefined ? again() : done(error)))
    }),
  )
}
