/** Several model nodes and the messages between them, moved by hand. */
import type { Configuration, Message, RaftLimits, RaftStatus, ReadState } from '../../../src/raft/types.ts'
import { configurationOf, data, idOf, ModelNode, numberOf, textOf } from './model-node.ts'

export interface GroupOptions {
  readonly voters: readonly number[]
  readonly learners?: readonly number[]
  readonly waiting?: readonly number[]
  readonly limits?: Partial<RaftLimits>
  readonly leases?: boolean
}

export class Group {
  readonly nodes = new Map<number, ModelNode>()
  /** On their way, oldest first. */
  network: Message[] = []
  readonly reads = new Map<number, ReadState[]>()
  /** Nothing passes between these and the others. */
  island = new Set<number>()

  constructor({ voters, learners = [], waiting = [], limits = {}, leases = false }: GroupOptions) {
    for (const n of [...voters, ...learners]) this.add(n, configurationOf(voters, learners), limits, leases)
    for (const n of waiting) this.add(n, configurationOf([]), limits, leases)
  }

  private add(n: number, birth: Configuration, limits: Partial<RaftLimits>, leases: boolean): void {
    const reads: ReadState[] = []
    this.reads.set(n, reads)
    const node = new ModelNode({
      id: n,
      birth,
      // Node n waits 10 + n ticks.
      random: () => Math.ceil((n / 10) * 0x1_0000_0000),
      limits,
      leases,
      send: message => {
        if (this.passes(message)) this.network.push(message)
      },
      onRead: read => reads.push(read),
    })
    this.nodes.set(n, node)
  }

  private passes({ from, to }: Message): boolean {
    return this.island.has(numberOf(from)) === this.island.has(numberOf(to))
  }

  node(n: number): ModelNode {
    const node = this.nodes.get(n)
    if (node === undefined) throw new Error(`no node ${n}`)
    return node
  }

  status(n: number): RaftStatus {
    return this.node(n).raft.status()
  }

  cut(...numbers: number[]): void {
    this.island = new Set(numbers)
  }

  heal(): void {
    this.island = new Set()
  }

  /** Takes these messages off the network. */
  take(which: (message: Message) => boolean): Message[] {
    const taken = this.network.filter(which)
    this.network = this.network.filter(message => !which(message))
    return taken
  }

  /** One message arrives; what it leads to is written and sent. */
  receive(message: Message): void {
    const node = this.nodes.get(numberOf(message.to))
    node?.raft.step(message)
    node?.settle()
  }

  /** Delivers in order until this is so. */
  settleUntil(done: () => boolean): void {
    for (const node of this.nodes.values()) node.settle()
    while (!done()) {
      const message = this.network.shift()
      if (message === undefined) throw new Error('nothing is on its way any more')
      if (this.passes(message)) this.receive(message)
    }
  }

  /** Until nothing is on its way. */
  settle(): void {
    for (let rounds = 0; ; rounds++) {
      if (rounds > 1000) throw new Error('the group finds no rest')
      for (const node of this.nodes.values()) node.settle()
      if (this.network.length === 0) return
      for (const message of this.take(() => true)) if (this.passes(message)) this.receive(message)
    }
  }

  tick(n: number, times = 1): void {
    for (let i = 0; i < times; i++) {
      this.node(n).raft.tick()
      this.node(n).settle()
    }
  }

  /** Everyone's clock runs. */
  tickAll(times = 1): void {
    for (let i = 0; i < times; i++) {
      for (const n of this.nodes.keys()) this.tick(n)
      this.settle()
    }
  }

  /** Makes this node lead: the others' leases run out first. */
  elect(n: number): void {
    for (const other of this.nodes.keys())
      if (other !== n && this.status(other).role === 'follower') this.tick(other, 10)
    this.take(({ type }) => type !== 'append')
    this.node(n).raft.campaign()
    this.settle()
    if (this.status(n).role !== 'leader') throw new Error(`node ${n} was not elected`)
  }

  propose(n: number, text: string): void {
    const result = this.node(n).raft.propose(data(text))
    if (!result.ok) throw new Error(`not proposed: ${result.reason}`)
    this.node(n).settle()
  }

  change(n: number, voters: readonly number[], learners: readonly number[] = []): string {
    const change = { voters: voters.map(idOf), learners: learners.map(idOf) }
    const result = this.node(n).raft.proposeConfiguration(change)
    this.node(n).settle()
    return result.ok ? 'ok' : result.reason
  }

  /** Commands that this node has applied. */
  commands(n: number): string[] {
    return this.node(n).applied.flatMap(({ kind, data: bytes }) => (kind === 'command' ? [textOf(bytes)] : []))
  }

  /** The numbers of the voters as this node sees them, both halves while they are joint. */
  voters(n: number): string {
    const { voters, outgoing } = this.status(n).configuration
    const half = voters.map(numberOf).join(' ')
    return outgoing.length === 0 ? half : `${half} & ${outgoing.map(numberOf).join(' ')}`
  }
}
