/** What there is to draw, read from the lines of a trace: a life line for each peer, and what passes between them. */
import { isState, type TracedCall, type TracedState, type TraceLine } from '../../trace.ts'
import { answerInWords, callInWords, configurationInWords, faultInWords, inWords } from '../words.ts'
import { type Passage, passages } from './matching.ts'
import type { Span } from './window.ts'

/** A peer did not change in it. `down`: no process. `starting`: it has said nothing of itself. */
export interface Stretch extends Span {
  readonly role: TracedState['role'] | 'starting' | 'down'
  readonly term: number
  readonly text: string
}

export interface Mark {
  readonly ms: number
  readonly kind: 'commit' | 'configuration' | 'truncate' | 'snapshot' | 'start' | 'crash'
  readonly label: string
  readonly text: string
}

export interface Call extends Span {
  readonly outcome: 'ok' | 'fail' | 'info' | 'open'
  readonly label: string
  readonly text: string
}

export interface Life {
  readonly peer: string
  readonly stretches: readonly Stretch[]
  readonly marks: readonly Mark[]
  readonly calls: readonly Call[]
}

export interface FaultSpan extends Span {
  readonly kind: string
  /** Empty: everybody, or nobody in particular. */
  readonly peers: readonly string[]
  readonly text: string
}

export interface Scene {
  readonly lives: readonly Life[]
  readonly passages: readonly Passage[]
  readonly faults: readonly FaultSpan[]
  readonly violations: readonly { readonly ms: number; readonly what: string; readonly peer: string | undefined }[]
}

/** To end one of these is to end all of its row: links are whole again, or as fast. */
const endedTogether: readonly (readonly string[])[] = [
  ['partition', 'isolate', 'one-way'],
  ['slow', 'lossy'],
]

type Begun = TracedCall & { readonly ms: number; readonly client: string }

class LifeReader {
  readonly peer: string
  readonly stretches: Stretch[] = []
  readonly marks: Mark[] = []
  readonly calls: Call[] = []
  private now: Omit<Stretch, 'toMs'> | undefined
  private known: (TraceLine & TracedState) | undefined
  private readonly open = new Map<string, Begun>()

  constructor(peer: string) {
    this.peer = peer
  }

  add(line: TraceLine): void {
    const { ms } = line
    const text = inWords(line)
    if (isState(line)) return this.state(line)
    switch (line.event) {
      case 'start':
        this.turn({ fromMs: ms, role: 'starting', term: 0, text })
        this.marks.push({ ms, kind: 'start', label: 'starts', text })
        return
      case 'crash':
        this.known = undefined
        this.turn({ fromMs: ms, role: 'down', term: 0, text: `${this.peer} is down` })
        this.marks.push({ ms, kind: 'crash', label: '', text })
        return
      case 'snapshot':
        this.marks.push({ ms, kind: 'snapshot', label: `state after ${line.index}`, text })
        return
      case 'invoke':
        this.open.set(line.client, line)
        return
      case 'ok':
      case 'fail':
      case 'info': {
        const begun = this.open.get(line.client)
        if (begun === undefined) return
        this.open.delete(line.client)
        const answer = answerInWords(line.event, line, begun.op)
        this.call(
          begun,
          ms,
          line.event,
          line.event === 'ok' && begun.op !== 'get' && answer === 'ok' ? '' : `: ${answer}`,
        )
      }
    }
  }

  end(ms: number): Life {
    this.turn(undefined, ms)
    for (const begun of this.open.values()) this.call(begun, ms, 'open', ': no answer yet')
    return this
  }

  private call(begun: Begun, toMs: number, outcome: Call['outcome'], answer: string) {
    const label = `${callInWords(begun)}${answer}`
    this.calls.push({ fromMs: begun.ms, toMs, outcome, label, text: `client ${begun.client}: ${label}` })
  }

  private state(line: TraceLine & TracedState): void {
    const { ms, role, term, cluster, vote, commit, last, lastTerm } = line
    const before = this.known
    this.known = line
    const text = `${this.peer} is ${role} in term ${term}, vote ${vote ?? 'none'}, log to ${last}/${lastTerm}, committed ${commit}; ${configurationInWords(line)}; cluster ${cluster.slice(0, 6)}`
    if (before?.role !== role || before.term !== term || before.cluster !== cluster)
      this.turn({ fromMs: ms, role, term, text })
    const mark = (kind: Mark['kind'], label: string): void => void this.marks.push({ ms, kind, label, text })
    if (line.event === 'commit') mark('commit', `${commit}`)
    if (line.event === 'truncate' && before?.cluster === cluster) mark('truncate', `log cut to ${last}`)
    if (line.event === 'configuration') mark('configuration', configurationInWords(line))
  }

  private turn(next: Omit<Stretch, 'toMs'> | undefined, toMs = next?.fromMs ?? 0): void {
    if (this.now !== undefined && toMs > this.now.fromMs) this.stretches.push({ ...this.now, toMs })
    this.now = next
  }
}

/** @param lines As `LineWindow` keeps them. */
export function sceneOf(lines: readonly TraceLine[], { fromMs, toMs }: Span): Scene {
  const readers = new Map<string, LifeReader>()
  const faults: (FaultSpan & { readonly n: number; toMs: number })[] = []
  const violations: Scene['violations'][number][] = []
  for (const line of lines) {
    if (line.event === 'violation') {
      violations.push({ ms: line.at, what: line.what, peer: line.peer })
    } else if (line.event === 'fault') {
      if (line.fault === 'heal') for (const one of faults) one.toMs = Math.min(one.toMs, line.ms)
      faults.push({
        n: line.n,
        kind: line.fault,
        fromMs: line.ms,
        toMs: line.ms + (line.forMs ?? 0),
        peers: line.struck !== undefined ? [line.struck] : (line.peers ?? []).map(n => `p${n}`),
        text: faultInWords(line),
      })
    } else if (line.event === 'mended') {
      const together = endedTogether.find(kinds => kinds.includes(line.fault))
      for (const one of faults)
        if (one.n === line.of || together?.includes(one.kind)) one.toMs = Math.min(one.toMs, line.ms)
    } else if ('peer' in line && line.peer !== undefined) {
      const reader = readers.get(line.peer) ?? new LifeReader(line.peer)
      readers.set(line.peer, reader)
      // Of what comes later only the ends of calls matter.
      if (line.ms <= toMs || line.event === 'ok' || line.event === 'fail' || line.event === 'info') reader.add(line)
    }
  }
  const isSeen = (span: Span): boolean => span.toMs >= fromMs && span.fromMs <= toMs
  const byNumber = (a: LifeReader, b: LifeReader): number => a.peer.localeCompare(b.peer, 'en', { numeric: true })
  return {
    lives: [...readers.values()].sort(byNumber).map(reader => {
      const { peer, stretches, marks, calls } = reader.end(toMs)
      return {
        peer,
        stretches: stretches.filter(isSeen),
        marks: marks.filter(({ ms }) => ms >= fromMs && ms <= toMs),
        calls: calls.filter(isSeen),
      }
    }),
    passages: passages(lines).filter(({ sentMs, receivedMs = sentMs }) => isSeen({ fromMs: sentMs, toMs: receivedMs })),
    faults: faults.filter(isSeen),
    violations: violations.filter(({ ms }) => ms >= fromMs && ms <= toMs),
  }
}
