/**
 * `list-append`: transactions that append to lists and read them, checked in the manner of Elle (Kingsbury and Alvaro, "Elle: inferring
 * isolation anomalies from experimental observations", VLDB 2020). Field of "invoke" and of the line that ends the transaction:
 *
 *   txn: [["append", key, element], ["read", key], ["read", key, [element, ...]], ...]
 *
 * Keys and elements are any JSON. The `txn` of the last line counts; "ok" needs one, and its reads have their lists. An element is appended to a key
 * once in a history, so that who reads it knows whose it is.
 *
 * The longest list read of a key is the order of its versions, and of whatever a committed transaction appended beyond it is known that
 * it comes later. From that: ww (the next version is mine), wr (I read your version), rw (you made the version after the one that I read) and, for strictness,
 * rt (you ended before I began). Unknown outcomes count as committed where somebody read their appends, otherwise as if they had not been.
 *
 * What a level forbids (it forbids what is above it, too; Adya's PL-2, generalised snapshot isolation without real time, PL-3, and PL-3 with real time):
 *
 *   read-committed        G0 (dirty write: ww cycle), G1a (aborted read), G1b (intermediate read), G1c (cycle of ww and wr), garbage (an
 *                         element that nobody appended), duplicate (an element twice in a list), internal (own appends are not the end of a
 *                         list that is read after them), incompatible-order (two lists of a key, neither the beginning of the other; or a transaction's
 *                         appends in another order than its own)
 *   snapshot              lost-update (two read one version and both append to it), G-single (read skew: a cycle with one rw),
 *                         G-nonadjacent (a cycle in which no two rw are neighbours)
 *   serializable          G2-item (write skew: a cycle with two rw that are neighbours)
 *   strict-serializable   each of the cycles with an rt edge in it, as NAME-realtime
 *
 * Appends are taken to be one step. An application that appends by reading and writing a list loses updates at read-committed,
 * and they appear here as incompatible-order. Of each tangle of transactions the worst kind of cycle is told.
 */

import { type CycleKind, explainCycles } from './cycles.ts'
import { rw, wr, ww } from './dependencies.ts'
import {
  type Call,
  canonical,
  type Decoded,
  type Finding,
  placeOf,
  type Report,
  short,
  unknownField,
} from './events.ts'

export const isolationLevels = ['read-committed', 'snapshot', 'serializable', 'strict-serializable'] as const
export type CheckedLevel = (typeof isolationLevels)[number]

export type Micro =
  | { readonly type: 'append'; readonly key: string; readonly element: string }
  | { readonly type: 'read'; readonly key: string; readonly elements: readonly string[] | undefined }

export interface Transaction {
  readonly call: Call
  readonly micros: readonly Micro[]
}

type Kind =
  | 'G1a'
  | 'G1b'
  | 'garbage'
  | 'duplicate'
  | 'internal'
  | 'incompatible-order'
  | CycleKind
  | `${CycleKind}-realtime`

const kindsOfSnapshot: readonly Kind[] = ['lost-update', 'G-single', 'G-nonadjacent']

function isForbidden(kind: Kind, level: CheckedLevel): boolean {
  const at = kind.endsWith('-realtime') ? 3 : kind === 'G2-item' ? 2 : kindsOfSnapshot.includes(kind) ? 1 : 0
  return at <= isolationLevels.indexOf(level)
}

export function transactionsOf(calls: readonly Call[]): Decoded<Transaction[]> {
  const transactions: Transaction[] = []
  for (const call of calls) {
    const isTold = call.output.has('txn')
    const [fields, line] = isTold ? [call.output, call.endLine ?? call.line] : [call.input, call.line]
    const odd = unknownField(call.input, ['txn']) ?? unknownField(call.output, ['txn'])
    const problem = (text: string) => ({ ok: false, problem: `line ${line}: ${text}` }) as const
    if (odd !== undefined) return problem(`a transaction has no field ${JSON.stringify(odd)}`)
    if (call.outcome === 'ok' && !isTold) return { ok: false, problem: `line ${call.endLine}: "txn" is missing` }
    const micros = microsOf(fields.get('txn') ?? [], call.outcome === 'ok')
    if (typeof micros === 'string') return problem(micros)
    transactions.push({ call, micros })
  }
  return { ok: true, value: transactions }
}

function microsOf(txn: unknown, mustHaveRead: boolean): Micro[] | string {
  if (!Array.isArray(txn)) return '"txn" must be a list'
  const micros: Micro[] = []
  for (const micro of txn as unknown[]) {
    if (!Array.isArray(micro)) return 'a step of "txn" must be a list'
    const [type, key, argument] = micro as unknown[]
    if (type === 'append' && micro.length === 3) {
      micros.push({ type, key: canonical(key), element: canonical(argument) })
    } else if (type === 'read' && micro.length >= 2 && micro.length <= 3) {
      if (micro.length === 3 && argument !== null && !Array.isArray(argument)) return 'what is read must be a list'
      const elements = micro.length === 3 ? ((argument ?? []) as unknown[]).map(canonical) : undefined
      if (elements === undefined && mustHaveRead) return 'a read that was answered needs its list'
      micros.push({ type, key: canonical(key), elements })
    } else {
      return 'a step of "txn" must be ["append", key, element] or ["read", key, list]'
    }
  }
  return micros
}

interface Writer {
  readonly transaction: number
  /** So many appends of the transaction to the key came before it. */
  readonly rank: number
  /** Is it the transaction's last append to the key? */
  isLast: boolean
}

interface Read {
  readonly transaction: number
  /** Without what the transaction itself had appended before. */
  readonly elements: readonly string[]
}

interface KeyState {
  readonly key: string
  readonly writers: Map<string, Writer>
  reads: Read[]
  order: readonly string[]
}

/** Readers of the last version known of a key, times appends that nobody read: so many edges of all keys together. */
const openEdgesMax = 4_000_000

export function checkListAppend(calls: readonly Call[], level: CheckedLevel): Decoded<Report> {
  const transactions = transactionsOf(calls)
  if (!transactions.ok) return transactions
  return new ListAppend(transactions.value, level).check()
}

class ListAppend {
  private readonly transactions: readonly Transaction[]
  private readonly level: CheckedLevel
  private readonly keys = new Map<string, KeyState>()
  private readonly findings: Finding[] = []
  private readonly shown = new Map<string, number>()
  private readonly committed: boolean[]
  private readonly from: number[] = []
  private readonly to: number[] = []
  private readonly kind: number[] = []
  /** Of each edge: its key, and the element that the later transaction (wr: the earlier one) appended. */
  private readonly about: { readonly key: string; readonly element: string }[] = []
  private openEdges = 0

  constructor(transactions: readonly Transaction[], level: CheckedLevel) {
    this.transactions = transactions
    this.level = level
    this.committed = transactions.map(({ call }) => call.outcome === 'ok')
  }

  check(): Decoded<Report> {
    const { transactions, level } = this
    for (const [at, { micros, call }] of transactions.entries()) {
      const problem = this.takeAppends(at, micros)
      if (problem !== undefined) return { ok: false, problem: `line ${call.line}: ${problem}` }
    }
    for (const [at, { micros, call }] of transactions.entries()) if (call.outcome === 'ok') this.takeReads(at, micros)
    for (const state of this.keys.values()) this.orderVersions(state)
    for (const state of this.keys.values()) this.connect(state)
    this.findLostUpdates()
    const { from, to, kind, about } = this
    const edges = { nodes: transactions.length, from, to, kind }
    const withTime = level === 'strict-serializable'
    for (const cycle of explainCycles(transactions, this.committed, edges, about, withTime)) {
      this.report(cycle.kind, cycle.transactions, cycle.explanation)
    }
    const isViolated = this.findings.some(({ allowed }) => !allowed)
    const isPartial = this.openEdges > openEdgesMax
    const verdict = isViolated ? 'violated' : isPartial ? 'undecided' : 'holds'
    if (verdict === 'undecided') {
      const explanation = [
        `more than ${openEdgesMax} pairs of a last read and an append that nobody read: read the lists once more at the end`,
      ]
      this.findings.push({ kind: 'undecided', allowed: false, lines: [], explanation })
    }
    return {
      ok: true,
      value: { model: `list-append ${level}`, verdict, calls: transactions.length, findings: this.findings },
    }
  }

  private takeAppends(transaction: number, micros: readonly Micro[]): string | undefined {
    const last = new Map<string, Writer>()
    for (const micro of micros) {
      const state = this.stateOf(micro.key)
      if (micro.type === 'read') continue
      const other = state.writers.get(micro.element)
      if (other !== undefined) {
        const { line } = this.transactions[other.transaction]!.call
        return `${short(micro.element)} is appended to ${short(micro.key)} a second time (first: line ${line}); elements must differ`
      }
      const before = last.get(micro.key)
      if (before !== undefined) before.isLast = false
      const writer = { transaction, rank: before === undefined ? 0 : before.rank + 1, isLast: true }
      last.set(micro.key, writer)
      state.writers.set(micro.element, writer)
    }
    return undefined
  }

  private stateOf(key: string): KeyState {
    const known = this.keys.get(key)
    if (known !== undefined) return known
    const state: KeyState = { key, writers: new Map(), reads: [], order: [] }
    this.keys.set(key, state)
    return state
  }

  private takeReads(transaction: number, micros: readonly Micro[]): void {
    const own = new Map<string, string[]>()
    for (const micro of micros) {
      const { key } = micro
      const appended = own.get(key)
      if (micro.type === 'append') {
        if (appended === undefined) own.set(key, [micro.element])
        else appended.push(micro.element)
        continue
      }
      const elements = micro.elements!
      const mine = appended ?? []
      const outside = elements.length - mine.length
      const isEnd = outside >= 0 && mine.every((element, at) => elements[outside + at] === element)
      const state = this.stateOf(key)
      const before = isEnd ? elements.slice(0, outside) : undefined
      if (before === undefined || before.some(element => state.writers.get(element)?.transaction === transaction)) {
        this.report(
          'internal',
          [transaction],
          [`it had appended ${listOf(mine)} to ${short(key)} and read ${listOf(elements)}`],
        )
        continue
      }
      if (this.isSound(state, transaction, before)) state.reads.push({ transaction, elements: before })
    }
  }

  /** Reports what is wrong with the list alone. One that contains what never was says nothing about the order of versions. */
  private isSound(state: KeyState, transaction: number, elements: readonly string[]): boolean {
    const said = `it read ${listOf(elements)} from ${short(state.key)}`
    if (new Set(elements).size < elements.length) {
      this.report('duplicate', [transaction], [said])
      return false
    }
    let isSound = true
    for (const element of elements) {
      const writer = state.writers.get(element)
      if (writer === undefined) {
        this.report('garbage', [transaction], [said, `nobody appended ${short(element)}`])
        isSound = false
      } else if (this.transactions[writer.transaction]!.call.outcome === 'failed') {
        this.report(
          'G1a',
          [transaction, writer.transaction],
          [said, `the second one appended ${short(element)}, and aborted`],
        )
        isSound = false
      } else {
        this.committed[writer.transaction] = true
      }
    }
    const last = elements.at(-1)
    const writer = last === undefined ? undefined : state.writers.get(last)
    if (last !== undefined && writer?.isLast === false && isSound) {
      this.report(
        'G1b',
        [transaction, writer.transaction],
        [said, `${short(last)} is not the last that the second one appended`],
      )
    }
    return isSound
  }

  private orderVersions(state: KeyState): void {
    let longest: Read | undefined
    for (const read of state.reads)
      if (longest === undefined || read.elements.length > longest.elements.length) longest = read
    if (longest === undefined) return
    state.order = longest.elements
    const ranks = new Map<number, number>()
    for (const element of state.order) {
      const { transaction, rank } = state.writers.get(element)!
      const expected = ranks.get(transaction) ?? 0
      ranks.set(transaction, expected + 1)
      if (rank === expected) continue
      this.report(
        'incompatible-order',
        [longest.transaction, transaction],
        [`it read ${listOf(state.order)} from ${short(state.key)}; the second one appended in another order, or more`],
      )
      break
    }
    const fitting = state.reads.filter(read => {
      if (read.elements.every((element, at) => element === state.order[at])) return true
      this.report(
        'incompatible-order',
        [read.transaction, longest.transaction],
        [`of ${short(state.key)} one read ${listOf(read.elements)}, the other ${listOf(state.order)}`],
      )
      return false
    })
    state.reads = fitting
  }

  private connect({ key, writers, reads, order }: KeyState): void {
    const writerOf = (at: number): number => writers.get(order[at]!)!.transaction
    const observed = new Set(order)
    const open: { readonly transaction: number; readonly element: string }[] = []
    for (const [element, { transaction }] of writers) {
      if (!observed.has(element) && this.committed[transaction]) open.push({ transaction, element })
    }
    for (let at = 1; at < order.length; at++) this.edge(ww, writerOf(at - 1), writerOf(at), key, order[at]!)
    if (order.length > 0) {
      for (const { transaction, element } of open) this.edge(ww, writerOf(order.length - 1), transaction, key, element)
    }
    const readLast = new Set<number>()
    for (const { transaction, elements } of reads) {
      const { length } = elements
      if (length > 0) this.edge(wr, writerOf(length - 1), transaction, key, order[length - 1]!)
      if (length < order.length) this.edge(rw, transaction, writerOf(length), key, order[length]!)
      else readLast.add(transaction)
    }
    for (const reader of readLast) {
      this.openEdges += open.length
      if (this.openEdges > openEdgesMax) return
      for (const { transaction, element } of open) this.edge(rw, reader, transaction, key, element)
    }
  }

  private edge(kind: number, from: number, to: number, key: string, element: string): void {
    if (from === to) return
    this.from.push(from)
    this.to.push(to)
    this.kind.push(kind)
    this.about.push({ key, element })
  }

  /** Two that read one version and append to it, in whatever order: also where nobody read what they appended. */
  private findLostUpdates(): void {
    for (const { key, writers, reads } of this.keys.values()) {
      const appending = new Set<number>()
      for (const { transaction } of writers.values()) appending.add(transaction)
      const first = new Map<number, number>()
      for (const { transaction, elements } of reads) {
        if (!appending.has(transaction)) continue
        const other = first.get(elements.length)
        if (other === undefined) first.set(elements.length, transaction)
        else if (other !== transaction) {
          this.report(
            'lost-update',
            [other, transaction],
            [`both read ${listOf(elements)} from ${short(key)}, and both appended to it`],
          )
        }
      }
    }
  }

  private report(kind: Kind, transactions: readonly number[], explanation: readonly string[]): void {
    const shown = this.shown.get(kind) ?? 0
    this.shown.set(kind, shown + 1)
    if (shown >= findingsMax) return
    const calls = transactions.map(at => this.transactions[at]!.call)
    this.findings.push({
      kind,
      allowed: !isForbidden(kind, this.level),
      lines: calls.map(({ line }) => line),
      explanation: [calls.map(call => `(${placeOf(call)})`).join(', '), ...explanation],
    })
  }
}

/** Of each kind. */
const findingsMax = 10

const listOf = (elements: readonly string[]): string =>
  elements.length > 12 ? `[... ${elements.slice(-10).map(short).join(', ')}]` : `[${elements.map(short).join(', ')}]`
