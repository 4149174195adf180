/** What the cases of the suite `endurance` have in common. */
import type { Measurement } from './lines.ts'

export interface Trial {
  readonly measured: Measurement['measured']
  /** What should not be. */
  readonly broken: readonly string[]
}

export const MiB = 1024 * 1024
export const inMiB = (bytes: number): string => `${(bytes / MiB).toFixed(1)} MiB`
