/** Fills an engine with a state that was received (`snapshot-sink.ts`). */
import { HarmonyError } from '../base/errors.ts'
import type { ClusterId } from '../base/ids.ts'
import { repeat } from '../base/repeat.ts'
import type { Done } from '../platform.ts'
import type { Engine } from '../storage/engine.ts'
import type { ApplyMachine } from './apply.ts'
import { decodeNote } from './apply-note.ts'
import type { ReceivedSnapshot } from './snapshot-sink.ts'

/** What was there is gone at once, in memory; on disk it stays until the next checkpoint. Errors: CORRUPT, VERSION_MISMATCH, those of the storage. */
export function install(
  machine: ApplyMachine,
  engine: Engine,
  cluster: ClusterId,
  { base, note, next }: ReceivedSnapshot,
  done: Done,
): void {
  const decoded = decodeNote(note)
  if (!decoded.ok) return done(decoded.error)
  if (decoded.value.cluster !== cluster || decoded.value.applied !== base.index) {
    return done(new HarmonyError('CORRUPT', 'a state that was received does not belong to its own description'))
  }
  machine.reset()
  repeat(again =>
    next(read => {
      if (!read.ok) done(read.error)
      else if (read.value === undefined) machine.install(decoded.value, done)
      else engine.load(read.value, error => (error === undefined ? again() : done(error)))
    }),
  )
}
