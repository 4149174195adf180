/**
 * A group of model nodes on a hostile network, from one seed: messages are dropped, doubled, reordered and cut off, appends
 * complete late, peers crash and lose what was not durable, configurations change meanwhile. After every event the rules
 * of the paper's figure 3 are checked, and what reads may return.
 *
 *   election safety       at most one leader in a term
 *   log matching          an entry of one index and term has the same content and the same predecessor everywhere
 *   leader completeness   a new leader has every entry that was committed before
 *   state machine safety  no two peers apply different entries at one index; no peer takes a committed entry back
 *   reads                 a read returns an index at or beyond everything that was committed anywhere when it was asked
 */
import type { PeerId } from '../../../src/base/ids.ts'
import { type SeededRandom, seededRandom } from '../../../src/base/random.ts'
import type { Entry, Message, ReadState, Ready } from '../../../src/raft/types.ts'
import { configurationOf, data, idOf, ModelNode, numberOf, textOf } from './model-node.ts'

const messagesMax = 400

export class NetworkModel {
  readonly nodes: ModelNode[] = []
  readonly random: SeededRandom
  /** Entries known to be committed, by index - 1. */
  readonly committed: Entry[] = []
  readsAnswered = 0
  private network: Message[] = []
  /** Pairs from>to that nothing passes. */
  private readonly cut = new Set<string>()
  private readonly leaders = new Map<number, PeerId>()
  private readonly contents = new Map<string, string>()
  private readonly asked = new Map<number, { readonly node: ModelNode; readonly committed: number }>()
  private nextContext = 1
  private nextCommand = 1

  constructor(seed: number) {
    this.random = seededRandom(seed)
    const voters = this.random.pick([1, 3, 3, 3])
    for (let n = 1; n <= 5; n++) {
      const numbers = Array.from({ length: voters }, (_, i) => i + 1)
      const birth = n <= voters ? configurationOf(numbers) : configurationOf([])
      const own = this.random.fork()
      const node: ModelNode = new ModelNode({
        id: n,
        birth,
        random: () => own.uint32(),
        limits: {
          electionTicks: 5,
          messageBytesMax: this.random.pick([1, 80, 1000]),
          inflightMessagesMax: this.random.pick([1, 2, 16]),
          cacheBytesMax: this.random.pick([0, 100, 10_000]),
          applyBytesMax: this.random.pick([1, 100, 10_000]),
          uncommittedBytesMax: 400,
        },
        send: message => this.send(message),
        onReady: ready => this.checkReady(node, ready),
        onApply: entry => this.checkApplied(node, entry),
        onRead: read => this.checkRead(node, read),
      })
      this.nodes.push(node)
    }
  }

  run(events: number): void {
    for (let i = 0; i < events; i++) {
      this.event()
    }
  }

  private event(): void {
    const { random } = this
    const node = random.pick(this.nodes)
    const dice = random.below(1000)
    if (dice < 480) this.deliver()
    else if (dice < 640) this.act(node, () => node.raft.tick())
    else if (dice < 840) this.act(node, () => node.completeAppend())
    else if (dice < 910) this.act(node, () => node.raft.propose(data(`c${this.nextCommand++}`)))
    else if (dice < 940) this.act(node, () => this.ask(node))
    else if (dice < 955) this.act(node, () => this.change(node))
    else if (dice < 962)
      this.act(node, () => node.raft.transferLeadership(random.chance(0.5) ? undefined : idOf(random.between(1, 5))))
    else if (dice < 966) this.act(node, () => node.raft.campaign())
    else if (dice < 976) this.restart(node)
    else if (dice < 984) this.cutSome()
    else if (dice < 992) this.cut.clear()
    else for (const each of this.nodes) this.act(each, () => each.raft.tick())
  }

  /** Whole again: everything arrives, everyone's clock runs. Returns how many ticks it took until `done`. */
  heal(ticksMax: number, done: () => boolean): number {
    this.cut.clear()
    for (let tick = 1; tick <= ticksMax; tick++) {
      for (const node of this.nodes) {
        node.raft.tick()
        this.check(node)
      }
      for (let calm = false; !calm; ) {
        calm = true
        for (const node of this.nodes) {
          if (node.raft.hasReady() || node.pending.length > 0) calm = false
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
    throw new Error(`not well after ${ticksMax} ticks: ${this.nodes.map(nameOf).join('; ')}`)
  }

  leader(): ModelNode | undefined {
    let newest: ModelNode | undefined
    for (const node of this.nodes) {
      const { role, term } = node.raft.status()
      if (role === 'leader' && (newest === undefined || term > newest.raft.status().term)) newest = node
    }
    return newest
  }

  private act(node: ModelNode, action: () => void): void {
    action()
    this.check(node)
    if (!this.random.chance(0.7)) return
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

  private cutSome(): void {
    for (const from of this.nodes) {
      for (const to of this.nodes) if (this.random.chance(0.25)) this.cut.add(`${from.id}>${to.id}`)
    }
  }

  private send(message: Message): void {
    if (this.network.length >= messagesMax) this.network.splice(this.random.below(this.network.length), 1)
    this.network.push(message)
  }

  private deliver(): void {
    const { random, network } = this
    if (network.length === 0) return
    // Mostly in order: far reordering alone never elects anybody.
    const at = random.chance(0.8) ? random.below(Math.min(8, network.length)) : random.below(network.length)
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

function nameOf(node: ModelNode): string {
  const { role, term, commit, lastIndex, leader } = node.raft.status()
  return `${numberOf(node.id)} (${role} of term ${term}, commit ${commit} of ${lastIndex}, leader ${leader === undefined ? 'none' : numberOf(leader)})`
}

function fail(message: string): never {
  throw new Error(message)
}
