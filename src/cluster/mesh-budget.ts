/** How much of something strangers may cause: a bucket that holds a burst and fills up again at a steady rate. */
export class Budget {
  private readonly burst: number
  private readonly perSecond: number
  private left: number
  private atMs: number

  constructor(burst: number, perSecond: number, nowMs: number) {
    this.burst = burst
    this.perSecond = perSecond
    this.left = burst
    this.atMs = nowMs
  }

  /** False: over the limit, drop it. */
  take(nowMs: number): boolean {
    this.left = Math.min(this.burst, this.left + ((nowMs - this.atMs) / 1000) * this.perSecond)
    this.atMs = nowMs
    if (this.left < 1) return false
    this.left--
    return true
  }
}
