/**
 * The direct serialization graph (Adya, "Weak consistency", 1999) as arrays, and the cycles in it: strongly connected components (Tarjan,
 * without recursion), then a short cycle through a wanted edge by breadth-first search. Time is linear in nodes and edges, but for the cycles that are shown.
 */

/** One bit each, so that a search can name the kinds that it follows. */
export const ww = 1
export const wr = 2
export const rw = 4
/** Real time: the first ended before the second began. */
export const rt = 8

export interface Edges {
  readonly nodes: number
  readonly from: number[]
  readonly to: number[]
  readonly kind: number[]
}

/** Edges of each node in a row: those of `node` are `list[start[node]]` to before `list[start[node + 1]]`. */
interface Outgoing {
  readonly start: Int32Array
  readonly list: Int32Array
}

function outgoing({ nodes, from, kind }: Edges, kinds: number): Outgoing {
  const start = new Int32Array(nodes + 1)
  for (let edge = 0; edge < from.length; edge++) if (kind[edge]! & kinds) start[from[edge]! + 1]!++
  for (let node = 0; node < nodes; node++) start[node + 1]! += start[node]!
  const next = start.slice()
  const list = new Int32Array(start[nodes]!)
  for (let edge = 0; edge < from.length; edge++) if (kind[edge]! & kinds) list[next[from[edge]!]!++] = edge
  return { start, list }
}

/** The component of each node, numbered from 0. */
export function components(edges: Edges, kinds: number): Int32Array {
  return componentsOf(edges, outgoing(edges, kinds))
}

function componentsOf({ nodes, to }: Edges, { start, list }: Outgoing): Int32Array {
  const component = new Int32Array(nodes).fill(-1)
  const order = new Int32Array(nodes).fill(-1)
  const low = new Int32Array(nodes)
  const next = start.slice(0, nodes)
  const open: number[] = []
  const path: number[] = []
  let visited = 0
  let found = 0
  for (let root = 0; root < nodes; root++) {
    if (order[root] !== -1) continue
    path.push(root)
    while (path.length > 0) {
      const node = path.at(-1)!
      if (order[node] === -1) {
        order[node] = low[node] = visited++
        open.push(node)
      }
      if (next[node]! < start[node + 1]!) {
        const target = to[list[next[node]!++]!]!
        if (order[target] === -1) path.push(target)
        else if (component[target] === -1) low[node] = Math.min(low[node]!, order[target]!)
        continue
      }
      path.pop()
      const above = path.at(-1)
      if (above !== undefined) low[above] = Math.min(low[above]!, low[node]!)
      if (low[node] !== order[node]) continue
      for (;;) {
        const member = open.pop()!
        component[member] = found
        if (member === node) break
      }
      found++
    }
  }
  return component
}

/** Per component, so many edges are tried for the shortest cycle; fewer in large ones. */
const triesMax = 64
const looksMax = 4_000_000

/**
 * One short cycle (as edges) for each component that has one with an edge of kind `wanted` among edges of `kinds`, at most `cyclesMax`.
 *
 * @param isDone Nodes whose components are passed over.
 */
export function cyclesWith(
  edges: Edges,
  kinds: number,
  wanted: number,
  isDone: (node: number) => boolean,
  cyclesMax: number,
): number[][] {
  const out = outgoing(edges, kinds)
  const component = componentsOf(edges, out)
  const skipped = new Set<number>()
  for (let node = 0; node < edges.nodes; node++) if (isDone(node)) skipped.add(component[node]!)
  const best = new Map<number, number[]>()
  const tries = new Map<number, number>()
  let looks = 0
  for (let edge = 0; edge < edges.from.length; edge++) {
    if (!(edges.kind[edge]! & wanted)) continue
    const [from, to] = [edges.from[edge]!, edges.to[edge]!]
    const of = component[from]!
    if (of !== component[to] || skipped.has(of)) continue
    const known = best.get(of)
    const tried = tries.get(of) ?? 0
    if (known === undefined ? best.size >= cyclesMax : tried >= triesMax || known.length === 2 || looks > looksMax)
      continue
    tries.set(of, tried + 1)
    const { path, looked } = shortestPath(edges, out, component, to, from)
    looks += looked
    if (path !== undefined && (known === undefined || path.length + 1 < known.length)) best.set(of, [edge, ...path])
  }
  return [...best.values()]
}

function shortestPath(
  { to }: Edges,
  { start, list }: Outgoing,
  component: Int32Array,
  source: number,
  target: number,
): { path: number[] | undefined; looked: number } {
  const came = new Map<number, { readonly edge: number; readonly node: number } | undefined>([[source, undefined]])
  const queue = [source]
  let looked = 0
  for (const node of queue) {
    if (node === target) break
    for (let at = start[node]!; at < start[node + 1]!; at++) {
      looked++
      const edge = list[at]!
      const next = to[edge]!
      if (component[next] !== component[source] || came.has(next)) continue
      came.set(next, { edge, node })
      queue.push(next)
    }
  }
  if (!came.has(target)) return { path: undefined, looked }
  const path: number[] = []
  for (let step = came.get(target); step !== undefined; step = came.get(step.node)) path.push(step.edge)
  return { path: path.reverse(), looked }
}

/**
 * The graph in which a walk never takes two `rw` edges in a row: node `n` reached otherwise is `n`, reached by `rw` it is `nodes + n`. Its cycles are those that
 * snapshot isolation forbids (Cerone and Gotsman, "Analysing snapshot isolation", 2018: ((ww | wr) ; rw?) must be acyclic). Edge `e` comes from edge `origin[e]`.
 */
export function withoutAdjacentReads({ nodes, from, to, kind }: Edges): Edges & { readonly origin: number[] } {
  const made = {
    nodes: nodes * 2,
    from: [] as number[],
    to: [] as number[],
    kind: [] as number[],
    origin: [] as number[],
  }
  const add = (edge: number, source: number, target: number): void => {
    made.from.push(source)
    made.to.push(target)
    made.kind.push(kind[edge]!)
    made.origin.push(edge)
  }
  for (let edge = 0; edge < from.length; edge++) {
    const [source, target] = [from[edge]!, to[edge]!]
    if (kind[edge] === rw) add(edge, source, nodes + target)
    else if (kind[edge] !== rt) {
      add(edge, source, target)
      add(edge, nodes + source, target)
    }
  }
  return made
}
