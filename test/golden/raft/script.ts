/**
 * Transcripts of the consensus core: a script of commands, and below each what the peers did, in words.
 *
 *   # A comment: what this step is about.
 *   command arguments
 *   ----
 *   what happened
 *
 * Blocks are parted by an empty line. Commands:
 *
 *   nodes 1 2 3 [learners 4] [waiting 5] [limit=value …]   a group at its birth; `waiting` nodes know of nobody yet
 *   tick 1 [n]                           n ticks of node 1, its Readys processed after each
 *   campaign 1                           start an election
 *   elect 1                              tick the others for an election timeout, campaign, stabilize; says only how it ended
 *   propose 1 text                       a command entry
 *   change 1 voters 1 2 [learners 3]     a configuration change
 *   read 1 context                       a linearizable read
 *   transfer 1 [2]                       hand leadership over
 *   stir 1                               somebody wants something of node 1
 *   process 1 2                          take Readys and do what they say, without the disk
 *   append-done 1 [n]                    the n oldest appends of node 1 become durable (default: all)
 *   deliver 1 [from 2] [n]               messages on their way to node 1, oldest first (default: all), then process
 *   drop 1 [from 2]                      lose the messages on their way to node 1
 *   double 1                             every message on its way to node 1 arrives again, after all others
 *   stabilize [1 2 …]                    process, write and deliver among these nodes until nothing is left
 *   compact 1 5                          the log of node 1 forgets its entries through 5
 *   install 2 1                          node 2 takes over what node 1 has applied, as a received snapshot
 *   restart 1                            crash, lose what is not durable, start again
 *   cut 1 2 / heal                       nothing passes between these nodes and the others / everything does again
 *   status [1 …]                         role, term, indexes
 *   log 1                                terms of the entries
 *
 * All but `process`, `append-done`, `deliver`, `drop` leave the effects to the next command: the disk and the network do nothing
 * by themselves. Node n has an election timeout of electionTicks + n ticks, so that no two are alike.
 */

import { decodeConfiguration } from '../../../src/raft/configuration.ts'
import type { Configuration, Entry, Message, RaftLimits, Ready } from '../../../src/raft/types.ts'
import { configurationOf, data, idOf, ModelNode, numberOf, textOf } from '../../unit/raft/model-node.ts'

export interface Block {
  /** Comments and commands as they stand. */
  readonly input: readonly string[]
  readonly output: string
}

export function parseBlocks(text: string): readonly Block[] {
  const blocks: Block[] = []
  for (const part of text.split('\n\n')) {
    const lines = part.split('\n').filter(line => line.trim() !== '')
    if (lines.length === 0) continue
    const rule = lines.indexOf('----')
    const input = rule < 0 ? lines : lines.slice(0, rule)
    blocks.push({ input, output: rule < 0 ? '' : lines.slice(rule + 1).join('\n') })
  }
  return blocks
}

export const printBlocks = (blocks: readonly Block[]): string =>
  `${blocks.map(({ input, output }) => [...input, '----', output].join('\n')).join('\n\n')}\n`

/** The same blocks with the output that the commands have now. */
export function runScript(blocks: readonly Block[]): readonly Block[] {
  const script = new Script()
  return blocks.map(({ input }) => {
    for (const line of input) if (!line.startsWith('#')) script.run(line)
    return { input, output: script.takeTrace() || 'ok' }
  })
}

class Script {
  private readonly nodes = new Map<number, ModelNode>()
  private network: Message[] = []
  private trace: string[] = []
  private island: ReadonlySet<number> | undefined
  private readonly seen = new Map<number, string>()

  takeTrace(): string {
    const lines: string[] = []
    for (let i = 0, same = 1; i < this.trace.length; i += same) {
      for (same = 1; this.trace[i + same] === this.trace[i]; ) same++
      lines.push(same === 1 ? this.trace[i]! : `${this.trace[i]} (${same} times)`)
    }
    this.trace = []
    return lines.join('\n')
  }

  run(line: string): void {
    const [command = '', ...words] = line.trim().split(/\s+/)
    const numbers = words.filter(word => /^\d+$/.test(word)).map(Number)
    const first = numbers[0] ?? 0
    switch (command) {
      case 'nodes':
        return this.create(words)
      case 'tick':
        for (let i = 0; i < (numbers[1] ?? 1); i++) {
          this.node(first).raft.tick()
          this.process([first])
        }
        return
      case 'campaign':
        this.node(first).raft.campaign()
        return this.look(first)
      case 'elect':
        return this.elect(first)
      case 'propose':
        return this.propose(first, words.slice(1).join(' '))
      case 'change':
        return this.change(first, words)
      case 'read':
        this.node(first).raft.readIndex(numbers[1] ?? 1)
        return
      case 'stir':
        return this.node(first).raft.stir()
      case 'transfer': {
        const started = this.node(first).raft.transferLeadership(
          numbers[1] === undefined ? undefined : idOf(numbers[1]),
        )
        if (!started) this.say(first, 'cannot hand over')
        return
      }
      case 'process':
        this.process(numbers)
        return
      case 'append-done':
        return this.appendDone(first, numbers[1])
      case 'deliver':
      case 'drop':
        return this.deliver(command === 'drop', words)
      case 'double':
        this.network.push(...this.network.filter(message => message.to === idOf(first)))
        return
      case 'stabilize':
        return this.stabilize(numbers.length === 0 ? [...this.nodes.keys()] : numbers)
      case 'compact':
        return this.node(first).compact(numbers[1] ?? 0)
      case 'install':
        if (!this.node(first).install(this.node(numbers[1] ?? 0))) this.say(first, 'has that already')
        return this.look(first)
      case 'restart':
        this.node(first).restart()
        this.seen.delete(first)
        return this.look(first)
      case 'cut':
        this.island = new Set(numbers)
        return
      case 'heal':
        this.island = undefined
        return
      case 'status':
        for (const n of numbers.length === 0 ? this.nodes.keys() : numbers) this.say(n, this.statusOf(n))
        return
      case 'log':
        for (const n of numbers)
          this.say(n, entriesText(this.node(n).file.slice(this.node(n).raft.status().firstIndex - 1)))
        return
      default:
        throw new Error(`unknown command: ${line}`)
    }
  }

  private create(words: readonly string[]): void {
    const groups: Record<string, number[]> = { voters: [], learners: [], waiting: [] }
    const limits: Record<string, number> = {}
    let group = 'voters'
    for (const word of words) {
      const [name, value] = word.split('=')
      if (value !== undefined) limits[name!] = Number(value)
      else if (word in groups) group = word
      else groups[group]!.push(Number(word))
    }
    const { voters = [], learners = [], waiting = [] } = groups
    const birth = configurationOf(voters, learners)
    for (const n of [...voters, ...learners]) this.add(n, birth, limits)
    for (const n of waiting) this.add(n, configurationOf([]), limits)
  }

  private add(n: number, birth: Configuration, limits: Partial<RaftLimits>): void {
    const electionTicks = limits.electionTicks ?? 10
    const node = new ModelNode({
      id: n,
      birth,
      random: () => Math.ceil((n / electionTicks) * 0x1_0000_0000),
      limits,
      send: message => this.send(message),
      onReady: ready => this.show(n, ready),
      onRead: ({ context, index }) =>
        this.say(n, `read ${context}: ${index === undefined ? 'ask again' : `at ${index}`}`),
    })
    this.nodes.set(n, node)
    this.seen.set(n, this.roleOf(n))
  }

  private node(n: number): ModelNode {
    const node = this.nodes.get(n)
    if (node === undefined) throw new Error(`there is no node ${n}`)
    return node
  }

  private say(n: number, text: string): void {
    this.trace.push(`${n}: ${text}`)
  }

  private elect(n: number): void {
    const { trace } = this
    this.trace = []
    for (const [other, node] of this.nodes) {
      for (let i = 0; i < 10 && other !== n && node.raft.status().role === 'follower'; i++) node.raft.tick()
    }
    this.node(n).raft.campaign()
    this.stabilize([...this.nodes.keys()])
    this.trace = trace
    this.say(n, `is ${this.roleOf(n)}`)
  }

  private propose(n: number, text: string): void {
    const result = this.node(n).raft.propose(data(text))
    this.say(n, result.ok ? `entry ${result.index}` : `refused: ${result.reason}`)
  }

  private change(n: number, words: readonly string[]): void {
    const learnersAt = words.indexOf('learners')
    const end = learnersAt < 0 ? words.length : learnersAt
    const voters = words.slice(words.indexOf('voters') + 1, end).map(Number)
    const learners = learnersAt < 0 ? [] : words.slice(learnersAt + 1).map(Number)
    const change = { voters: voters.map(idOf), learners: learners.map(idOf) }
    const result = this.node(n).raft.proposeConfiguration(change)
    this.say(n, result.ok ? `entry ${result.index}` : `refused: ${result.reason}`)
    this.look(n)
  }

  private process(numbers: readonly number[]): boolean {
    let any = false
    for (const n of numbers) {
      this.look(n)
      while (this.node(n).process() || this.node(n).completeFetch()) {
        any = true
        this.look(n)
      }
    }
    return any
  }

  private appendDone(n: number, count = Number.POSITIVE_INFINITY): void {
    const node = this.node(n)
    for (let i = 0; i < count && node.pending.length > 0; i++) this.completeAppend(n)
  }

  private completeAppend(n: number): void {
    const { hardState, entries } = this.node(n).pending[0]!
    const parts = entries.length > 0 ? [`through ${entries[entries.length - 1]!.index}`] : []
    if (hardState !== undefined) parts.push(`term ${hardState.term}`)
    this.say(n, `durable: ${parts.length === 0 ? 'nothing new' : parts.join(', ')}`)
    this.node(n).completeAppend()
    this.look(n)
  }

  private deliver(drop: boolean, words: readonly string[]): void {
    const to = Number(words[0])
    const fromAt = words.indexOf('from')
    const from = fromAt < 0 ? undefined : Number(words[fromAt + 1])
    const countWord = words[fromAt < 0 ? 1 : fromAt + 2]
    let left = countWord === undefined ? Number.POSITIVE_INFINITY : Number(countWord)
    const due = this.network.filter(
      message => numberOf(message.to) === to && (from === undefined || numberOf(message.from) === from) && left-- > 0,
    )
    this.network = this.network.filter(message => !due.includes(message))
    for (const message of due) {
      if (drop) this.trace.push(`lost: ${messageText(message)}`)
      else this.receive(message)
    }
    if (!drop) this.process([to])
  }

  private receive(message: Message): void {
    const to = numberOf(message.to)
    if (!this.nodes.has(to)) return
    this.trace.push(`  ${messageText(message)}`)
    this.node(to).raft.step(message)
    this.look(to)
  }

  private stabilize(numbers: readonly number[]): void {
    for (let calm = false; !calm; ) {
      calm = !this.process(numbers)
      for (const n of numbers) {
        while (this.node(n).pending.length > 0) {
          calm = false
          this.completeAppend(n)
        }
      }
      if (!calm) continue
      const due = this.network.filter(message => numbers.includes(numberOf(message.to)))
      this.network = this.network.filter(message => !due.includes(message))
      calm = due.length === 0
      for (const message of due) this.receive(message)
    }
  }

  private send(message: Message): void {
    const inside = this.island?.has(numberOf(message.from)) === this.island?.has(numberOf(message.to))
    if (inside) this.network.push(message)
    else {
      const line = `cut off: ${messageText(message)}`
      // A heartbeat that does not arrive is worth saying once.
      if (!this.trace.includes(line)) this.trace.push(line)
    }
  }

  /** Says what a Ready asks for; its messages show when they arrive. */
  private show(
    n: number,
    { hardState, entries, committed, append, messagesAfterAppend, fetch, snapshot }: Ready,
  ): void {
    if (append !== undefined) {
      const parts = entries.length > 0 ? [entriesText(entries)] : []
      if (hardState !== undefined) {
        const { term, vote } = hardState
        parts.push(`term ${term}${vote === undefined ? '' : ` vote ${numberOf(vote)}`}`)
      }
      const waiting = messagesAfterAppend.length === 0 ? '' : `, then send ${messagesAfterAppend.length}`
      this.say(n, `write ${parts.length === 0 ? 'nothing new' : parts.join(', ')}${waiting}`)
    }
    if (committed.length > 0) this.say(n, `apply ${entriesText(committed)}`)
    if (fetch !== undefined) this.say(n, `fetch ${fetch.from}…${fetch.through}`)
    if (snapshot !== undefined)
      this.say(n, `needs a snapshot of ${snapshot.index} or later from ${numberOf(snapshot.from)}`)
  }

  /** Says what changed of role and configuration. */
  private look(n: number): void {
    const now = this.roleOf(n)
    if (this.seen.get(n) !== now) this.say(n, `is ${now}`)
    this.seen.set(n, now)
  }

  private roleOf(n: number): string {
    const { role, term, leader, configuration } = this.node(n).raft.status()
    const led = role === 'follower' ? (leader === undefined ? ', no leader' : ` of ${numberOf(leader)}`) : ''
    return `${role}${led}, term ${term}, ${configurationText(configuration)}`
  }

  private statusOf(n: number): string {
    const { commit, applied, lastIndex, progress, transferee, resting } = this.node(n).raft.status()
    const peers = progress.map(
      peer => `${numberOf(peer.id)} ${peer.state} match ${peer.match} next ${peer.next}${peer.active ? '' : ' silent'}`,
    )
    const to = transferee === undefined ? '' : `, handing over to ${numberOf(transferee)}`
    const followers = peers.length === 0 ? '' : ` [${peers.join('; ')}]`
    return `${this.roleOf(n)}, commit ${commit} applied ${applied} last ${lastIndex}${to}${resting ? ', at rest' : ''}${followers}`
  }
}

const entriesText = (entries: readonly Entry[]): string =>
  entries.length === 0 ? 'nothing' : entries.map(entryText).join(' ')

function entryText({ index, term, kind, data: bytes }: Entry): string {
  const name = `${index}/${term}`
  if (kind === 'noop') return name
  if (kind === 'command') return `${name}=${textOf(bytes)}`
  const decoded = decodeConfiguration(bytes)
  return `${name}=${decoded.ok ? configurationText(decoded.value) : 'garbage'}`
}

/** (1 2 3) voters; (1 2)&(1 3) joint, incoming and outgoing; +4 learner; +2* learner once the change is left. */
function configurationText({ voters, outgoing, learners, learnersNext }: Configuration): string {
  const list = (ids: typeof voters): string => `(${ids.map(numberOf).join(' ')})`
  const halves = outgoing.length === 0 ? list(voters) : `${list(voters)}&${list(outgoing)}`
  return [halves, ...learners.map(id => `+${numberOf(id)}`), ...learnersNext.map(id => `+${numberOf(id)}*`)].join(' ')
}

function messageText(message: Message): string {
  const head = `${numberOf(message.from)}>${numberOf(message.to)} ${message.type} term ${message.term}`
  switch (message.type) {
    case 'preVote':
    case 'vote':
      return `${head} log ${message.lastIndex}/${message.lastTerm}${message.transfer ? ' transfer' : ''}`
    case 'preVoteReply':
    case 'voteReply':
      return `${head} ${message.granted ? 'granted' : 'refused'}`
    case 'append': {
      const { prevIndex, prevTerm, entries, commit } = message
      return `${head} after ${prevIndex}/${prevTerm} ${entriesText(entries)} commit ${commit}`
    }
    case 'appendReply': {
      const { ok, match, rejected, hintIndex, hintTerm } = message
      return `${head} ${ok ? `match ${match}` : `refused after ${rejected}, hint ${hintIndex}/${hintTerm}`}`
    }
    case 'snapshot':
      return `${head} behind ${message.index}`
    case 'heartbeat':
      return `${head} commit ${message.commit}${message.context === 0 ? '' : ` round ${message.context}`}`
    case 'heartbeatReply':
      return `${head}${message.context === 0 ? '' : ` round ${message.context}`}`
    case 'readIndex':
      return `${head} read ${message.context}`
    case 'readIndexReply':
      return `${head} read ${message.context} ${message.index === 0 ? 'refused' : `at ${message.index}`}`
    case 'rest':
      return `${head} commit ${message.commit}`
    case 'timeoutNow':
    case 'wake':
      return head
  }
}
