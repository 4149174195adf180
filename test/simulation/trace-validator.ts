/**
 * A tool from outside: it knows of a run only what `harmonydb simulate --trace` writes, as README.md describes it, and none of HarmonyDB's code. It says which of these the lines contradict:
 *
 *   order            `n` counts from 1, time does not go back
 *   received         what is received was sent before
 *   election safety  one leader for each term of a cluster
 *   one vote         a peer tells one candidate in each term that it has its vote, over all its lives; its own campaign counts
 *   monotone         terms and commits of one life do not go back, nothing is applied that is not committed, and a life begins with the term of what was said before
 *   log matching     entries of one index and term are the same, and so are the terms of those before them; so equal logs follow by induction
 *   committed        an index that is committed has one term
 *   state machine    equal states after equal indexes
 *   configurations   a leader begins a change when the one before is committed, and voters change one at a time or by way of a joint configuration
 */

interface Entry {
  readonly index: number
  readonly term: number
  readonly kind: string
  readonly bytes: number
}

interface Message {
  readonly type: string
  readonly from: string
  readonly to: string
  readonly term: number
  readonly granted?: boolean
  readonly prevIndex?: number
  readonly prevTerm?: number
  readonly entries?: readonly Entry[]
}

interface State {
  readonly event: string
  readonly peer: string
  readonly cluster: string
  readonly term: number
  readonly role: string
  readonly commit: number
  readonly applied: number
  readonly last: number
  readonly lastTerm: number
  readonly voters: readonly string[]
  readonly outgoing: readonly string[]
  readonly fingerprint: number | null
}

interface Start {
  readonly peer: string
  readonly id: string
}

interface Life {
  readonly states: Map<string, State>
  /** The last configuration of this life as a leader. */
  led?: State | undefined
}

class Validator {
  readonly findings: string[] = []
  private readonly sent = new Map<string, number>()
  /** Facts that never change once they are known: of which, and what. */
  private readonly facts = new Map<string, string>()
  private readonly lives = new Map<string, Life>()
  /** By cluster and peer: the greatest term that it spoke of. */
  private readonly spoken = new Map<string, number>()
  /** By cluster and term: the index of the last configuration entry that its leader sent. */
  private readonly changes = new Map<string, number>()
  private readonly ids = new Map<string, string>()
  /** How many peers a process has been, one after the other. */
  private readonly births = new Map<string, number>()
  private lines = 0
  private ms = 0

  add(line: { readonly n: number; readonly ms: number; readonly event: string }): void {
    if (line.n !== ++this.lines) this.find('order', `line ${this.lines} has the number ${line.n}`)
    if (line.ms < this.ms) this.find('order', `line ${line.n} is earlier than the one before`)
    this.ms = line.ms
    if (line.event === 'start') this.started(line as unknown as Start)
    if (!('commit' in line)) return
    const state = line as unknown as State
    if ('message' in line) this.message(state, line.message as Message)
    this.state(state)
  }

  /** Under another id it is another peer, which owes nothing to the one before. */
  private started({ peer, id }: Start): void {
    this.lives.set(peer, { states: new Map() })
    if (this.ids.get(peer) !== id) this.births.set(peer, (this.births.get(peer) ?? 0) + 1)
    this.ids.set(peer, id)
  }

  private one(peer: string): string {
    return `${peer}, ${this.births.get(peer) ?? 0}`
  }

  private message(state: State, message: Message): void {
    const { event, cluster } = state
    const { type, from, to, term, granted = false } = message
    const text = JSON.stringify(message)
    if (event === 'received') {
      if (!this.sent.has(text)) this.find('received', `${text} was never sent`)
      return
    }
    this.sent.set(text, (this.sent.get(text) ?? 0) + 1)
    if (type === 'voteReply' && granted) this.fact('one vote', `${cluster} ${this.one(from)} ${term}`, to)
    if (type === 'vote') this.fact('one vote', `${cluster} ${this.one(from)} ${term}`, from)
    if (!type.startsWith('preVote')) {
      const name = `${cluster} ${this.one(from)}`
      this.spoken.set(name, Math.max(term, this.spoken.get(name) ?? 0))
    }
    if (type === 'append') this.entries(state, message)
  }

  private entries({ cluster, commit }: State, { from, term, prevIndex, prevTerm, entries = [] }: Message): void {
    let before = { index: prevIndex ?? -1, term: prevTerm ?? -1 }
    for (const entry of entries) {
      const { index, kind, bytes } = entry
      if (index !== before.index + 1) this.find('log matching', `${from} sends ${index} after ${before.index}`)
      this.fact('log matching', `${cluster} ${index}/${entry.term}`, `${kind} ${bytes} after ${before.term}`)
      before = entry
      if (kind !== 'configuration' || entry.term !== term) continue
      const name = `${cluster} ${term}`
      const earlier = this.changes.get(name) ?? 0
      if (index <= earlier) continue
      this.changes.set(name, index)
      if (commit < earlier)
        this.find('configurations', `${from} has a change at ${index}, and the one at ${earlier} is not committed`)
    }
  }

  private state(state: State): void {
    const { peer, cluster, term, role, commit, applied, last, lastTerm, fingerprint } = state
    const life = this.lives.get(peer)
    if (life === undefined) return this.find('order', `${peer} has not started`)
    if (role === 'leader') this.fact('election safety', `${cluster} ${term}`, peer)
    const before = life.states.get(cluster)
    life.states.set(cluster, state)
    const least = before?.term ?? this.spoken.get(`${cluster} ${this.one(peer)}`) ?? 0
    if (term < least) this.find('monotone', `${peer} has term ${term} after ${least}`)
    if (commit < (before?.commit ?? 0)) this.find('monotone', `${peer} has commit ${commit} after ${before?.commit}`)
    if (applied > commit) this.find('monotone', `${peer} has applied ${applied} of ${commit}`)
    if (applied > 0 && fingerprint !== null) this.fact('state machine', `${cluster} ${applied}`, `${fingerprint}`)
    if (commit === last && commit > 0) this.fact('committed', `${cluster} ${commit}`, `${lastTerm}`)
    this.configuration(life, state)
  }

  private configuration(life: Life, state: State): void {
    const { peer, cluster, term, role, voters, outgoing } = state
    const before = life.led
    life.led = role === 'leader' ? state : undefined
    if (before === undefined || life.led === undefined || before.cluster !== cluster || before.term !== term) return
    const isLeft = before.outgoing.length > 0 && outgoing.length === 0
    const isJoint = before.outgoing.length === 0 && outgoing.length > 0
    const from = isJoint ? outgoing : voters
    const changed = [
      ...voters.filter(id => !before.voters.includes(id)),
      ...before.voters.filter(id => !voters.includes(id)),
    ]
    const allowed = isJoint ? same(from, before.voters) : changed.length <= (isLeft || outgoing.length > 0 ? 0 : 1)
    if (!allowed) this.find('configurations', `${peer} goes from ${shown(before)} to ${shown(state)}`)
  }

  private fact(kind: string, name: string, what: string): void {
    const known = this.facts.get(`${kind} ${name}`)
    if (known === undefined) this.facts.set(`${kind} ${name}`, what)
    else if (known !== what) this.find(kind, `${name}: ${known}, and ${what}`)
  }

  private find(kind: string, what: string): void {
    if (this.findings.length < 100) this.findings.push(`${kind}: line ${this.lines}: ${what}`)
  }
}

const same = (a: readonly string[], b: readonly string[]): boolean => [...a].sort().join() === [...b].sort().join()
const shown = ({ voters, outgoing }: State): string =>
  `${voters.join()}${outgoing.length > 0 ? `&${outgoing.join()}` : ''}`

/** @param text A file that `harmonydb simulate --trace` wrote. */
export function validate(text: string): readonly string[] {
  const validator = new Validator()
  for (const line of text.trimEnd().split('\n')) validator.add(JSON.parse(line))
  return validator.findings
}
