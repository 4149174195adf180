/**
 * On which thread a log is synced. The way to another thread and back costs more than a quick device takes to sync a few pages; a slow one must not
 * hold this thread up. So: here, as long as that has been quick; for a while elsewhere when it was not.
 */

/** Quicker than this it is quick. Measured: 84 to 137 µs for a sync, 60 to 200 µs for the way. */
const quickMs = 0.6
/** After so many slow ones in a row it goes elsewhere: one alone is the device's affair. */
const slowMax = 3
/** How many go elsewhere before it is tried here again. */
const elsewhereCount = 500
/** More than this is never quick. */
export const bytesHereMax = 256 * 1024

export class SyncPace {
  private slow = 0
  private elsewhere = 0

  /** Is the next one made here, if it has not too many bytes? */
  get isHere(): boolean {
    return this.elsewhere === 0
  }

  /** Is the next one, of so many bytes, made here? */
  here(bytes: number): boolean {
    if (bytes > bytesHereMax) return false
    if (this.elsewhere === 0) return true
    this.elsewhere--
    return false
  }

  /** One that was made here took so long. */
  took(ms: number): void {
    this.slow = ms < quickMs ? 0 : this.slow + 1
    if (this.slow < slowMax) return
    // The first one when it is tried again decides.
    this.slow = slowMax - 1
    this.elsewhere = elsewhereCount
  }
}
