/** What the panels share: the session once it is open, the log, and the chosen consistency of reads. */
import type { Consistency } from '../src/database/types.ts'
import type { LogStrip } from './log-strip.ts'
import type { Session } from './session.ts'

export interface PageContext {
  readonly log: LogStrip
  /** Undefined until the database is open. */
  session(): Session | undefined
  consistency(): Consistency
}
