/**
 * A group of model nodes on a hostile network, from one seed: messages are dropped, doubled, reordered and cut off, appends
 * complete late, peers crash and lose what was not durable, configurations change meanwhile. After every event the rules
 * of the paper's figure 3 are checked, and what reads may return.
 *
 *   election safety       at most one leader in a term
 *   log matching          an entry of one index and term has the same content and the same predecessor everywhere
 *   leader completeness   a new leader has every entry that was committed before
 *   state machine safety  no two peers apply different entries at one index; no peer takes a committed entry back
 *   persistence           what a vote, a request for one or an acknowledgement speaks of is on disk when it leaves
 *   reads                 a read returns an index at or beyond everything that was committed anywhere when it was asked
 */
import type { PeerId } from '../../../src/base/ids.ts'
import { type SeededRandom, seededRandom } from '../../../src/base/random.ts'
import { isVoter } from '../../../src/raft/configuration.ts'
import type { Entry, Message, ReadState, Ready } from '../../../src/raft/types.ts'
import { configurationOf, data, idOf, ModelNode, numberOf, textOf } from './model-node.ts'

const messagesMax = 400

const eventNames = [
  'deliver',
  'tick',
  'complete',
  'propose',
  'ask',
  'change',
  'transfer',
  'campaign',
  'restart',
  'compact',
  'cut',
  'uncut',
  'scene',
] as const
type Event = (typeof eventNames)[number]

type Weather = (
  random: SeededRandom,
) => Record<'tick' | 'change' | 'transfer' | 'campaign' | 'restart' | 'cut' | 'scene', number>

const mixed: Weather = random => ({
  tick: random.pick([30, 60, 150]),
  change: random.pick([0, 0, 15, 40]),
  transfer: random.pick([0, 5, 20]),
  campaign: random.pick([0, 2, 20]),
  restart: random.pick([0, 2, 10, 40]),
  cut: random.pick([0, 3, 10]),
  scene: 0,
})
/** Peers campaign against each other and crash while they do. */
const elections: Weather = random => ({
  tick: 60,
  change: 0,
  transfer: random.pick([0, 10]),
  campaign: random.pick([60, 200]),
  restart: random.pick([20, 60, 120]),
  cut: 0,
  scene: 0,
})
/** Leaders are cut off while they change who votes. */
const changes: Weather = random => ({
  tick: 100,
  change: random.pick([40, 120]),
  transfer: random.pick([0, 20]),
  campaign: random.pick([0, 5]),
  restart: random.pick([0, 10]),
  cut: random.pick([10, 20]),
  scene: 0,
})
/** Leaders come and go before their entries are everywhere (figure 8 of the paper). */
const contests: Weather = random => ({
  tick: 20,
  change: random.pick([0, 10]),
  transfer: 0,
  campaign: 0,
  restart: random.pick([0, 5]),
  cut: 0,
  scene: 50,
})
const weathers = [mixed, mixed, elections, changes, contests, contests]

export class NetworkModel {
  readonly nodes: ModelNode[] = []
  readonly random: SeededRandom
  /** Entries known to be committed, by index - 1. */
  readonly committed: Entry[] = []
  /** The term in which each of them was. */
  private readonly committedIn: number[] = []
  readsAnswered = 0
  /** States taken over. */
  installed = 0
  private readonly weights: Record<Event, number>
  private readonly weightsSum: number
  /** How often any message is next, instead of one of the oldest. */
  private readonly disorder: number
  /** Each node as often as its clock runs fast. */
  private readonly clocks: ModelNode[] = []
  private network: Message[] = []
  /** Pairs from>to that nothing passes. */
  private readonly cut = new Set<string>()
  private frozen: ModelNode | undefined
  private readonly leaders = new Map<number, PeerId>()
  private readonly contents = new Map<string, string>()
  private readonly asked = new Map<number, { readonly node: ModelNode; readonly committed: number }>()
  private nextContext = 1
  private nextCommand = 1

  constructor(seed: number) {
    this.random = seededRandom(seed)
    const { random } = this
    // Each seed has its own weather: what is rare in one is common in another (swarm testing).
    const weather = random.pick(weathers)
    this.weights = {
      deliver: weather === contests ? 300 : 1000,
      complete: random.pick([100, 300, 600]),
      propose: random.pick([20, 70]),
      ask: 40,
      compact: random.pick([0, 10, 60]),
      uncut: random.pick([3, 10]),
      ...weather(random),
    }
    this.disorder = random.pick([0.02, 0.2, 1])
    this.weightsSum = eventNames.reduce((sum, name) => sum + this.weights[name], 0)
    const electionTicks = weather === contests ? random.between(3, 5) : random.between(3, 10)
    // One entry after the other: so an old one can be acknowledged alone.
    const stepwise = weather === contests || random.chance(0.3)
    const heartbeatTicks = random.pick([1, 2])
    const idleTicks = random.pick([0, 1, 5])
    const voters = random.pick([1, 2, 3, 3, 3, 5])
    for (let n = 1; n <= 5; n++) {
      const numbers = Array.from({ length: voters }, (_, i) => i + 1)
      const birth = n <= voters ? configurationOf(numbers) : configurationOf([])
      const own = random.fork()
      const node: ModelNode = new ModelNode({
        id: n,
        birth,
        random: () => own.uint32(),
        limits: {
          electionTicks,
          heartbeatTicks,
          idleTicks,
          restTicks: 8,
          messageBytesMax: stepwise ? 1 : random.pick([80, 1000]),
          inflightMessagesMax: stepwise ? 1 : random.pick([1, 2, 16]),
          cacheBytesMax: random.pick([0, 100, 10_000]),
          applyBytesMax: random.pick([1, 100, 10_000]),
          uncommittedBytesMax: 400,
        },
        send: message => this.send(node, message),
        onReady: ready => this.checkReady(node, ready),
        onApply: entry => this.checkApplied(node, entry),
        onRead: read => this.checkRead(node, read),
      })
      this.nodes.push(node)
      for (let i = random.pick([1, 3, 3, 9]); i > 0; i--) this.clocks.push(node)
    }
  }

  run(events: number): void {
    for (let i = 0; i < events; i++) {
      this.event()
    }
  }

  private event(): void {
    const node = this.random.pick(this.nodes)
    switch (this.drawEvent()) {
      case 'deliver':
        return this.network.length > 0 ? this.deliver() : this.tick()
      case 'tick':
        return this.tick()
      case 'complete': {
        const busy = this.nodes.filter(each => isBusy(each))
        if (busy.length === 0) return this.tick()
        return this.act(this.random.pick(busy), each => this.complete(each))
      }
      case 'propose':
        return this.act(this.proposer(node), proposer => proposer.raft.propose(data(`c${this.nextCommand++}`)))
      case 'ask':
        return this.act(this.proposer(node), asker => this.ask(asker))
      case 'change':
        return this.act(this.proposer(node), proposer => this.change(proposer))
      case 'transfer':
        return this.act(this.proposer(node), leader => this.transfer(leader))
      case 'campaign':
        return this.act(node, () => node.raft.campaign())
      case 'restart':
        return this.restart(this.random.chance(0.5) ? this.proposer(node) : node)
      case 'compact':
        return this.act(this.random.chance(0.5) ? this.proposer(node) : node, each => this.compact(each))
      case 'cut':
        return this.cutSome()
      case 'uncut':
        return this.uncut()
      case 'scene':
        return this.scene()
    }
  }

  private compact(node: ModelNode): void {
    const from = node.raft.status().firstIndex
    if (node.compactable >= from) node.compact(this.random.between(from, node.compactable))
  }

  /** The state comes from who said that it is needed, or from any other that is further by now. */
  private install(node: ModelNode): boolean {
    const { snapshotFrom } = node
    if (snapshotFrom === undefined) return false
    const from = this.random.chance(0.8) ? this.nodes[numberOf(snapshotFrom) - 1]! : this.random.pick(this.nodes)
    // What a node has applied is committed, whoever it is; a leader of today has at least what it said.
    if (node.install(from)) this.installed++
    return true
  }

  private complete(node: ModelNode): void {
    if (this.random.chance(0.5) && this.install(node)) return
    if (this.random.chance(0.5) && node.completeFetch()) return
    if (!node.completeAppend()) node.completeFetch()
  }

  /** Some peers alone with each other: one stands for election, gets how far it gets, and something of it is lost. */
  private scene(): void {
    const { random, nodes } = this
    this.uncut()
    const voters = nodes.filter(({ id, raft }) => isVoter(raft.status().configuration, id))
    if (voters.length === 0) return
    const inside = new Set(random.shuffle(voters).slice(0, random.between(1, voters.length)))
    for (const from of nodes) {
      for (const to of nodes) if (inside.has(from) !== inside.has(to)) this.cut.add(`${from.id}>${to.id}`)
    }
    const candidate = random.pick([...inside])
    for (const node of inside) {
      if (node.raft.status().role === 'leader') continue
      for (let i = 0; i < 10 && node !== candidate; i++) this.act(node, each => each.raft.tick())
    }
    if (random.chance(0.7)) this.network = []
    this.act(candidate, node => node.raft.campaign())
    for (let i = random.below(80); i > 0; i--) {
      if (random.chance(0.1)) this.act(candidate, node => node.raft.propose(data(`c${this.nextCommand++}`)))
      if (random.chance(0.05)) this.act(this.proposer(candidate), asker => this.ask(asker))
      if (this.weights.change > 0 && random.chance(0.1)) this.act(this.proposer(candidate), node => this.change(node))
      if (this.network.length > 0) this.deliver()
      const busy = nodes.filter(each => isBusy(each))
      if (busy.length > 0) this.act(random.pick(busy), each => this.complete(each))
    }
    for (const node of nodes) if (random.chance(0.2)) this.restart(node)
    if (random.chance(0.7)) this.network = []
  }

  private tick(): void {
    const node = this.random.pick(this.clocks)
    if (this.frozen !== node) this.act(node, () => node.raft.tick())
  }

  private drawEvent(): Event {
    let left = this.random.below(this.weightsSum)
    for (const event of eventNames) {
      left -= this.weights[event]
      if (left < 0) return event
    }
    return 'deliver'
  }

  /** Most of the time whoever believes to lead: there may be several. */
  private proposer(otherwise: ModelNode): ModelNode {
    const leaders = this.nodes.filter(node => node.raft.status().role === 'leader')
    return leaders.length === 0 || this.random.chance(0.2) ? otherwise : this.random.pick(leaders)
  }

  private transfer(leader: ModelNode): void {
    leader.raft.transferLeadership(this.random.chance(0.5) ? undefined : idOf(this.random.between(1, 5)))
  }

  /** Whole again: everything arrives, everyone's clock runs. Returns how many ticks it took until `done`. */
  heal(ticksMax: number, done: () => boolean): number {
    this.uncut()
    for (let tick = 1; tick <= ticksMax; tick++) {
      for (const node of this.nodes) {
        node.raft.tick()
        this.check(node)
      }
      let rounds = 0
      for (let calm = false; !calm; ) {
        calm = true
        if (++rounds > 2000) fail(`no rest: ${this.nodes.map(nameOf).join('; ')}`)
        for (const node of this.nodes) {
          if (node.raft.hasReady() || isBusy(node)) calm = false
          this.install(node)
          node.settle()
          this.check(node)
        }
        while (this.network.length > 0) {
          calm = false
          this.receive(this.network.shift()!)
        }
      }
      if (done()) return tick
    }
    fail(`not well after ${ticksMax} ticks: ${this.nodes.map(nameOf).join('; ')}`)
  }

  leader(): ModelNode | undefined {
    let newest: ModelNode | undefined
    for (const node of this.nodes) {
      const { role, term } = node.raft.status()
      if (role === 'leader' && (newest === undefined || term > newest.raft.status().term)) newest = node
    }
    return newest
  }

  private act(node: ModelNode, action: (node: ModelNode) => void): void {
    action(node)
    this.check(node)
    if (!this.random.chance(0.85)) return
    while (node.process()) this.check(node)
  }

  private ask(node: ModelNode): void {
    const context = this.nextContext++
    this.asked.set(context, { node, committed: this.committed.length })
    node.raft.readIndex(context)
  }

  private change(node: ModelNode): void {
    const numbers = this.random.shuffle([1, 2, 3, 4, 5])
    const voters = numbers.slice(0, this.random.between(1, 4))
    const learners = numbers.slice(voters.length, voters.length + this.random.below(3))
    node.raft.proposeConfiguration({ voters: voters.map(idOf), learners: learners.map(idOf) })
  }

  private restart(node: ModelNode): void {
    node.restart()
    this.check(node)
  }

  private uncut(): void {
    this.cut.clear()
    this.frozen = undefined
  }

  private cutSome(): void {
    const { random, nodes } = this
    const alone = random.chance(0.6) ? this.proposer(random.pick(nodes)) : undefined
    const style = random.pick(['links', 'alone', 'alone', 'deaf', 'mute', 'halves'])
    // Without a clock it does not notice that it is alone.
    if (alone !== undefined && random.chance(0.5)) this.frozen = alone
    const half = new Set(random.shuffle([...nodes]).slice(0, 2))
    for (const from of nodes) {
      for (const to of nodes) {
        const cut =
          style === 'links'
            ? random.chance(0.25)
            : style === 'halves'
              ? half.has(from) !== half.has(to)
              : (style !== 'deaf' && from === alone) || (style !== 'mute' && to === alone)
        if (cut) this.cut.add(`${from.id}>${to.id}`)
      }
    }
  }

  private send(node: ModelNode, message: Message): void {
    checkDurable(node, message)
    if (this.network.length >= messagesMax) this.network.splice(this.random.below(this.network.length), 1)
    this.network.push(message)
  }

  private deliver(): void {
    const { random, network } = this
    const at = random.below(random.chance(this.disorder) ? network.length : Math.min(4, network.length))
    const message = network[at]!
    if (!random.chance(0.05)) network.splice(at, 1)
    if (random.chance(0.05)) return
    this.receive(message)
  }

  private receive(message: Message): void {
    const node = this.nodes[numberOf(message.to) - 1]
    if (node === undefined || this.cut.has(`${message.from}>${message.to}`)) return
    this.act(node, () => node.raft.step(message))
  }

  private check(node: ModelNode): void {
    const { role, term, commit, lastIndex, applied } = node.raft.status()
    if (applied > commit || commit > lastIndex) fail(`order of indexes at ${nameOf(node)}`)
    if (role !== 'leader') return
    const known = this.leaders.get(term)
    if (known === node.id) return
    if (known !== undefined) fail(`election safety: two leaders of term ${term}`)
    this.leaders.set(term, node.id)
    for (const entry of this.committed) {
      // Votes that come late may still make a leader of an earlier term.
      if (this.committedIn[entry.index - 1]! >= term) continue
      if (node.file[entry.index - 1]?.term === entry.term) continue
      fail(`leader completeness: ${nameOf(node)} lacks committed entry ${entry.index}`)
    }
  }

  private checkReady(node: ModelNode, ready: Ready): void {
    const { commit } = node.raft.status()
    let previous = ready.entries[0] === undefined ? 0 : (node.file[ready.entries[0].index - 2]?.term ?? 0)
    for (const entry of ready.entries) {
      const before = node.file[entry.index - 1]
      if (before !== undefined && entry.index <= node.applied.length) fail(`${nameOf(node)} replaces an applied entry`)
      const key = `${entry.index} of ${entry.term}`
      const content = `${previous} ${entry.kind} ${entry.data.join()}`
      const known = this.contents.get(key)
      if (known === undefined) this.contents.set(key, content)
      else if (known !== content) fail(`log matching: entry ${key} differs at ${nameOf(node)}`)
      previous = entry.term
    }
    const last = ready.entries[ready.entries.length - 1]?.index ?? node.file.length
    if (commit > last) fail('commit beyond the log')
    // The file of the model gets the new entries after this check.
    for (let at = this.committed.length + 1; at <= commit; at++) {
      const first = ready.entries[0]?.index ?? Number.POSITIVE_INFINITY
      this.committed.push(at >= first ? ready.entries[at - first]! : node.file[at - 1]!)
      this.committedIn.push(node.raft.status().term)
    }
  }

  private checkApplied(node: ModelNode, entry: Entry): void {
    const agreed = this.committed[entry.index - 1]
    if (entry.index !== node.applied.length) fail('applied out of order')
    if (agreed?.term === entry.term && textOf(agreed.data) === textOf(entry.data)) return
    fail(`state machine safety: ${nameOf(node)} applies another entry ${entry.index}`)
  }

  private checkRead(node: ModelNode, { context, index }: ReadState): void {
    const asked = this.asked.get(context)
    if (asked?.node !== node) fail('an answer to a question that nobody asked')
    this.asked.delete(context)
    if (index === undefined) return
    this.readsAnswered++
    if (index < asked.committed) fail(`stale read at ${nameOf(node)}: ${index} after ${asked.committed} was committed`)
  }
}

const isBusy = (node: ModelNode): boolean =>
  node.pending.length > 0 || node.fetching !== undefined || node.snapshotFrom !== undefined

function nameOf(node: ModelNode): string {
  const { role, term, commit, lastIndex, leader } = node.raft.status()
  return `${numberOf(node.id)} (${role} of term ${term}, commit ${commit} of ${lastIndex}, leader ${leader === undefined ? 'none' : numberOf(leader)})`
}

function checkDurable(node: ModelNode, message: Message): void {
  const { hardState, entries } = node.disk
  const { type, term } = message
  // Whoever is in a later term by now can neither vote nor lead in this one again.
  if (hardState.term > term) return
  const promises =
    type === 'vote' || (type === 'voteReply' && message.granted) || (type === 'appendReply' && message.ok)
  if (!promises) return
  let durable = hardState.term === term
  if (type === 'vote') durable &&= hardState.vote === message.from && entries.length >= message.lastIndex
  else if (type === 'voteReply') durable &&= hardState.vote === message.to
  else if (type === 'appendReply') durable &&= entries.length >= message.match
  if (!durable) fail(`persistence: ${nameOf(node)} sends ${type} of term ${term} before its disk has it`)
}

function fail(message: string): never {
  throw new Error(message)
}
