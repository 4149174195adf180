/** Lines of a trace in words, for people: on the terminal (`Story`), and where a diagram is pointed at. What they say is in `trace.ts`; nothing reads them back. */
import { isState, type TracedCall, type TracedMessage, type TracedState, type TraceLine } from '../trace.ts'

/** Without its time. */
export function inWords(line: TraceLine): string {
  if (isState(line)) return `${line.peer} ${change(line)}`
  switch (line.event) {
    case 'sent':
      return `${line.message.from} to ${line.message.to}: ${messageInWords(line.message)}`
    case 'received':
      return `${line.message.to} hears ${line.message.from}: ${messageInWords(line.message)}`
    case 'start':
      return `${line.peer} starts (${line.id})`
    case 'crash':
      return `${line.peer} crashes`
    case 'snapshot':
      return `${line.peer} has received the state after ${line.index}`
    case 'fault':
      return `fault: ${faultInWords(line)}`
    case 'mended':
      return `over: ${line.fault}${line.struck === undefined ? '' : ` of ${line.struck}`}`
    case 'violation':
      return `BROKEN: ${line.what}`
    default:
      return `client ${line.client}: ${line.event === 'invoke' ? callInWords(line) : answerInWords(line.event, line)}`
  }
}

export function faultInWords(line: TraceLine & { readonly event: 'fault' }): string {
  const { fault, struck, peer, peers, forMs, amount } = line
  const target = struck ?? (typeof peer === 'number' ? `p${peer}` : peer)
  const words = [fault]
  if (target !== undefined) words.push(target)
  if (peers !== undefined) words.push(fault === 'partition' ? namesOf(peers) : `to ${namesOf(peers)}`)
  if (amount !== undefined) words.push(`by ${amount}`)
  if (forMs !== undefined) words.push(`for ${Math.round(forMs) / 1000} s`)
  return words.join(' ')
}

const namesOf = (peers: readonly number[]): string => peers.map(n => `p${n}`).join(' ') || 'nobody'

/** One part of a peer's state. */
function change(line: TraceLine & TracedState): string {
  switch (line.event as string) {
    case 'term':
      return `is in term ${line.term}`
    case 'role':
      return `is ${line.role}`
    case 'vote':
      return line.vote === null ? 'has given no vote' : `votes for ${line.vote}`
    case 'commit':
      return `knows ${line.commit} committed`
    case 'apply':
      return `has applied ${line.applied}`
    case 'append':
      return `has a log to ${line.last} (term ${line.lastTerm})`
    case 'truncate':
      return `has its log cut to ${line.last} (term ${line.lastTerm})`
    default:
      return `has ${configurationInWords(line)}`
  }
}

export function configurationInWords({ voters, outgoing, learners }: TracedState): string {
  const joint = outgoing.length === 0 ? '' : ` and outgoing ${listed(outgoing)}`
  return `voters ${listed(voters) || 'none'}${joint}${learners.length === 0 ? '' : `, learners ${listed(learners)}`}`
}

const listed = (names: readonly string[]): string => [...names].sort().join(' ')

export function messageInWords(message: TracedMessage): string {
  const { type, term, granted, entries, prevIndex, prevTerm, commit, ok, match, rejected, hintIndex, hintTerm } =
    message
  const words = [`${type} term ${term}`]
  if (granted !== undefined) words.push(granted ? 'granted' : 'refused')
  if (message.lastIndex !== undefined) words.push(`log ${message.lastIndex}/${message.lastTerm}`)
  if (message.transfer === true) words.push('by transfer')
  if (entries !== undefined) {
    const [first] = entries
    const last = entries.at(-1)
    const changes = entries.some(({ kind }) => kind === 'configuration') ? ' with a configuration' : ''
    words.push(`after ${prevIndex}/${prevTerm}`)
    words.push(
      first === undefined || last === undefined
        ? 'no entries'
        : `entries ${first.index}/${first.term}${first === last ? '' : ` to ${last.index}/${last.term}`}${changes}`,
    )
  }
  if (ok === true) words.push(`has ${match}`)
  if (ok === false) words.push(`refuses ${rejected}, perhaps ${hintIndex}/${hintTerm}`)
  if (commit !== undefined) words.push(`committed ${commit}`)
  if (message.context !== undefined && message.context !== 0) words.push(`round ${message.context}`)
  if (message.index !== undefined) words.push(`index ${message.index}`)
  return words.join(', ')
}

export function callInWords({ op = '', key = '', value, expected }: TracedCall): string {
  if (op === 'cas') return `cas ${key} from ${expected ?? 'nothing'} to ${value ?? 'nothing'}`
  return op === 'put' ? `put ${key} ${value}` : `${op} ${key}`
}

export function answerInWords(
  outcome: 'ok' | 'fail' | 'info',
  { value, applied, error }: TracedCall,
  op?: string,
): string {
  if (outcome === 'fail') return `refused (${error})`
  if (outcome === 'info') return `answer unknown${error === undefined ? '' : ` (${error})`}`
  if (applied !== undefined) return applied ? 'done' : 'not applied'
  return value ?? (op === 'get' ? 'nothing' : 'ok')
}

export const isHeartbeat = (line: TraceLine): boolean =>
  (line.event === 'sent' || line.event === 'received') && line.message.type.startsWith('heartbeat')

interface Told {
  readonly ms: number
  /** Of a peer whose changes of one turn are told in one line. */
  readonly peer: string | undefined
  text: string
}

/** The last lines before the first violation, in words; heartbeats are left out. */
export class Story {
  private readonly untilMs: number
  private readonly linesMax: number
  private readonly told: Told[] = []
  private isOver = false

  constructor(untilMs: number, linesMax = 48) {
    this.untilMs = untilMs
    this.linesMax = linesMax
  }

  add(line: TraceLine): void {
    // To the microsecond, as lines of a trace are.
    if (this.isOver || line.ms > this.untilMs + 0.001 || isHeartbeat(line)) return
    this.isOver = line.event === 'violation'
    const before = this.told.at(-1)
    if (isState(line)) {
      if (before?.peer === line.peer && before.ms === line.ms) {
        before.text += `, ${change(line)}`
        return
      }
      this.told.push({ ms: line.ms, peer: line.peer, text: inWords(line) })
    } else this.told.push({ ms: line.ms, peer: undefined, text: inWords(line) })
    if (this.told.length > this.linesMax) this.told.shift()
  }

  get lines(): readonly string[] {
    return this.told.map(({ ms, text }) => `${(ms / 1000).toFixed(4).padStart(9)}  ${text}`)
  }
}
