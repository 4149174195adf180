/** Writes a history as it happens (events.ts has the format), and keeps its calls for the checkers. */
import { type Call, History } from './events.ts'

/** Fields of a history's line beside `client` and `type`. */
export type Fields = Readonly<Record<string, unknown>>
export type Outcome = 'ok' | 'fail' | 'info'

export class Recorder {
  readonly history = new History()
  readonly counts: Record<Outcome, number> = { ok: 0, fail: 0, info: 0 }
  private readonly tell: ((line: string) => void) | undefined
  private lines = 0

  /** @param tell Hears of every line. */
  constructor(tell?: (line: string) => void) {
    this.tell = tell
  }

  get calls(): readonly Call[] {
    return this.history.calls
  }

  invoke(client: string, fields: Fields): void {
    this.add({ client, type: 'invoke', ...fields })
  }

  end(client: string, type: Outcome, fields: Fields = {}): void {
    this.counts[type]++
    this.add({ client, type, ...fields })
  }

  private add(event: object): void {
    const text = JSON.stringify(event)
    const problem = this.history.add(++this.lines, text)
    if (problem !== undefined) throw new Error(`line ${this.lines} of the history: ${problem}: ${text}`)
    this.tell?.(text)
  }
}
