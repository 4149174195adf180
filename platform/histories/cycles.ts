/** Cycles of the direct serialization graph: which kind they are of, and what they say to a person. */
import { cyclesWith, type Edges, rt, rw, withoutAdjacentReads, wr, ww } from './dependencies.ts'
import { type Call, placeOf, short } from './events.ts'

export type CycleKind = 'G0' | 'G1c' | 'lost-update' | 'G-single' | 'G-nonadjacent' | 'G2-item'

export interface Cycle {
  readonly kind: CycleKind | `${CycleKind}-realtime`
  readonly transactions: readonly number[]
  readonly explanation: readonly string[]
}

interface About {
  readonly key: string
  readonly element: string
}

const cyclesMax = 10

/**
 * @param edges Nodes are transactions.
 * @param about Of each edge.
 * @param withTime Cycles that need real time are looked for, too.
 */
export function explainCycles(
  transactions: readonly { readonly call: Call }[],
  committed: readonly boolean[],
  edges: Edges,
  about: readonly About[],
  withTime: boolean,
): Cycle[] {
  const found: Cycle[] = []
  const done = new Set<number>()
  const take = (
    graph: Edges,
    cycles: readonly (readonly number[])[],
    name: (cycle: readonly number[]) => Cycle['kind'],
  ) => {
    for (const cycle of cycles) {
      found.push({ kind: name(cycle), ...explain(transactions, graph, about, cycle) })
      for (const edge of cycle) done.add(graph.from[edge]!)
    }
  }
  const isDone = (node: number): boolean => done.has(node)
  take(edges, cyclesWith(edges, ww, ww, isDone, cyclesMax), () => 'G0')
  take(edges, cyclesWith(edges, ww | wr, wr, isDone, cyclesMax), () => 'G1c')
  const apart = withoutAdjacentReads(edges)
  const isDoneApart = (node: number): boolean => done.has(node % edges.nodes)
  const cyclesApart = cyclesWith(apart, ww | wr | rw, rw, isDoneApart, cyclesMax)
  take(
    edges,
    cyclesApart.map(cycle => cycle.map(edge => apart.origin[edge]!)),
    cycle => {
      const reads = cycle.filter(edge => edges.kind[edge] === rw).length
      const keys = new Set(cycle.map(edge => about[edge]!.key))
      const isLostUpdate = cycle.length === 2 && keys.size === 1 && cycle.every(edge => edges.kind[edge] !== wr)
      return reads > 1 ? 'G-nonadjacent' : isLostUpdate ? 'lost-update' : 'G-single'
    },
  )
  take(edges, cyclesWith(edges, ww | wr | rw, rw, isDone, cyclesMax), () => 'G2-item')
  if (!withTime) return found
  const timed = withRealTime(transactions, committed, edges)
  take(timed, cyclesWith(timed, ww | wr | rw | rt, rt, isDone, cyclesMax), cycle => {
    const kinds = cycle.map(edge => timed.kind[edge]!)
    const reads = kinds.filter(kind => kind === rw).length
    if (reads > 1) return 'G2-item-realtime'
    return reads === 1 ? 'G-single-realtime' : kinds.includes(wr) ? 'G1c-realtime' : 'G0-realtime'
  })
  return found
}

/** A node for each end, in order: those that ended lead to it, it leads to those that begin after it. So the edges stay few. */
function withRealTime(
  transactions: readonly { readonly call: Call }[],
  committed: readonly boolean[],
  edges: Edges,
): Edges {
  const [from, to, kind] = [[...edges.from], [...edges.to], [...edges.kind]]
  const link = (source: number, target: number): void => {
    from.push(source)
    to.push(target)
    kind.push(rt)
  }
  const taken = [...transactions.keys()].filter(at => committed[at])
  const begins = taken.map(at => ({ at, line: transactions[at]!.call.line, isEnd: false }))
  const ends = taken.flatMap(at => {
    const { outcome, endLine } = transactions[at]!.call
    return outcome === 'ok' ? [{ at, line: endLine!, isEnd: true }] : []
  })
  let nodes = transactions.length
  let last: number | undefined
  for (const { at, isEnd } of [...begins, ...ends].sort((a, b) => a.line - b.line)) {
    if (!isEnd) {
      if (last !== undefined) link(last, at)
      continue
    }
    const node = nodes++
    if (last !== undefined) link(last, node)
    link(at, node)
    last = node
  }
  return { nodes, from, to, kind }
}

function explain(
  transactions: readonly { readonly call: Call }[],
  { from, to, kind }: Edges,
  about: readonly About[],
  cycle: readonly number[],
): { transactions: number[]; explanation: string[] } {
  const isTransaction = (node: number): boolean => node < transactions.length
  const first = cycle.findIndex(edge => isTransaction(from[edge]!))
  const turned = [...cycle.slice(first), ...cycle.slice(0, first)]
  const members = turned.map(edge => from[edge]!).filter(isTransaction)
  const nameOf = (node: number): string => `T${members.indexOf(node) + 1}`
  const explanation = members.map(node => `${nameOf(node)}: ${placeOf(transactions[node]!.call)}`)
  let since: number | undefined
  for (const edge of turned) {
    const [source, target] = [from[edge]!, to[edge]!]
    if (kind[edge] === rt) {
      // Ends in between are no transactions.
      since ??= source
      if (!isTransaction(target)) continue
      explanation.push(`${nameOf(since)} ended before ${nameOf(target)} began`)
      since = undefined
      continue
    }
    const { key, element } = about[edge]!
    const [a, b, what, where] = [nameOf(source), nameOf(target), short(element), short(key)]
    if (kind[edge] === ww) explanation.push(`${b} appended ${what} to ${where} after what ${a} had appended`)
    else if (kind[edge] === wr) explanation.push(`${b} read ${what} in ${where}, which ${a} had appended`)
    else explanation.push(`${a} read ${where} without ${what}, which ${b} appended`)
  }
  return { transactions: [...new Set(members)], explanation }
}
