/** What a diagram needs of a trace, which may be as long as it likes: a stretch of time, how things stood before it, and whatever reaches into it. */
import { isState, type TraceLine } from '../../trace.ts'

export interface Span {
  readonly fromMs: number
  readonly toMs: number
}

/** Messages that were sent so long before a stretch, or received so long after it, are drawn. */
const reachMs = 5000

export class LineWindow {
  readonly span: Span
  private readonly kept: TraceLine[] = []
  /** The last before the stretch, by peer. */
  private readonly states = new Map<string, TraceLine>()
  private readonly lives = new Map<string, TraceLine>()
  /** Calls that are open when it begins, by client. */
  private readonly calls = new Map<string, TraceLine>()

  constructor(span: Span) {
    this.span = span
  }

  add(line: TraceLine): void {
    const { fromMs, toMs } = this.span
    const isMessage = line.event === 'sent' || line.event === 'received'
    if (line.event === 'violation') {
      if (line.at >= fromMs && line.at <= toMs) this.kept.push(line)
    } else if (line.event === 'fault' || line.event === 'mended') this.kept.push(line)
    else if (line.ms >= fromMs - (isMessage ? reachMs : 0)) {
      if (line.ms <= toMs + reachMs) this.kept.push(line)
    } else if (isState(line)) this.states.set(line.peer, line)
    else if (line.event === 'start' || line.event === 'crash') {
      this.lives.set(line.peer, line)
      this.states.delete(line.peer)
    } else if (line.event === 'invoke') this.calls.set(line.client, line)
    else if ('client' in line) this.calls.delete(line.client)
  }

  /** In order. */
  get lines(): readonly TraceLine[] {
    const all = [...this.lives.values(), ...this.states.values(), ...this.calls.values(), ...this.kept]
    return all.sort((a, b) => a.n - b.n)
  }
}
