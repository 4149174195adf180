/**
 * Which message that was received is which that was sent. A trace does not say: messages are bytes on their way. The same text may be sent again and again (heartbeats), so that it is a
 * guess, made from the end: the last one received is the last one sent before it, and so on, for links keep the order. What is left over was lost, or came twice.
 */
import type { TracedMessage, TraceLine } from '../../trace.ts'

export interface Passage {
  readonly message: TracedMessage
  readonly sentMs: number
  /** Undefined: it never arrived. */
  readonly receivedMs: number | undefined
  /** Another copy of it arrived, too. */
  readonly isCopy: boolean
}

type MessageLine = TraceLine & { readonly event: 'sent' | 'received' }

/** In the order in which they were sent. What was received and never sent, as far as these lines know, is left out. */
export function passages(lines: readonly TraceLine[]): readonly Passage[] {
  const messages = lines.filter((line): line is MessageLine => line.event === 'sent' || line.event === 'received')
  const waiting = new Map<string, MessageLine[]>()
  const receipts = new Map<MessageLine, MessageLine[]>()
  for (const line of messages.toReversed()) {
    const text = textOf(line)
    const received = waiting.get(text) ?? []
    waiting.set(text, received)
    if (line.event === 'received') received.push(line)
    else {
      const match = received.shift()
      receipts.set(line, match === undefined ? [] : [match])
    }
  }
  // Those left over are copies of the last one sent before.
  const latest = new Map<string, MessageLine>()
  for (const line of messages) {
    const text = textOf(line)
    if (line.event === 'sent') latest.set(text, line)
    else if (waiting.get(text)?.includes(line) === true) {
      const sent = latest.get(text)
      if (sent !== undefined) receipts.get(sent)?.push(line)
    }
  }
  const result: Passage[] = []
  for (const [sent, received] of [...receipts].reverse()) {
    const { message, ms: sentMs } = sent
    if (received.length === 0) result.push({ message, sentMs, receivedMs: undefined, isCopy: false })
    for (const [nth, { ms }] of received.entries()) result.push({ message, sentMs, receivedMs: ms, isCopy: nth > 0 })
  }
  return result
}

const textOf = ({ message }: MessageLine): string => JSON.stringify(message)
