/**
 * Who may import whom: ARCHITECTURE's arrow, as data. A file belongs to an area; an area may import the areas listed for it and
 * itself. Exceptions name one file, what it may import besides, and why.
 */
import { posix } from 'node:path'
import { isRelative, type Tree, type Violation } from './tree.ts'

type Area =
  | `src/${'base' | 'platform.ts' | 'raft' | 'storage' | 'mvcc' | 'txn' | 'shard' | 'cluster' | 'database' | 'rpc' | 'index.ts'}`
  | 'platform/network'
  | 'platform/histories'
  | 'platform/node'
  | 'platform/browser/page'
  | 'platform/browser/worker'
  | 'platform/simulation/runs'
  | 'platform/simulation/workloads'
  | 'platform/simulation'
  | 'demo'
  | 'test'
  | 'root'

const ports = ['src/base', 'src/platform.ts'] as const
const core = [...ports, 'src/raft', 'src/storage', 'src/mvcc', 'src/txn'] as const

const allowed: Readonly<Record<Area, readonly Area[]>> = {
  'src/base': [],
  'src/raft': ['src/base'],
  'src/platform.ts': ['src/base'],
  'src/storage': ports,
  'src/mvcc': [...ports, 'src/storage'],
  'src/txn': [...ports, 'src/storage', 'src/mvcc'],
  'src/shard': core,
  'src/cluster': [...core, 'src/shard'],
  'src/database': [...core, 'src/shard', 'src/cluster'],
  'src/rpc': [...core, 'src/shard', 'src/cluster', 'src/database'],
  'src/index.ts': [...core, 'src/shard', 'src/cluster', 'src/database', 'src/rpc'],
  'platform/network': ports,
  'platform/histories': ['src/base'],
  'platform/node': [
    ...ports,
    'platform/network',
    'platform/histories',
    'platform/simulation/runs',
    'platform/simulation/workloads',
  ],
  'platform/browser/page': [...ports, 'platform/network'],
  'platform/browser/worker': [...ports, 'platform/network'],
  'platform/simulation/runs': [...core, 'src/shard', 'src/cluster', 'platform/simulation', 'platform/histories'],
  'platform/simulation/workloads': [...ports, 'platform/simulation', 'platform/simulation/runs', 'platform/histories'],
  'platform/simulation': [...ports, 'platform/histories'],
  demo: [],
  root: ['test'],
  test: [...core, 'src/shard', 'src/cluster', 'src/database', 'src/rpc', 'src/index.ts'].concat([
    'platform/network',
    'platform/histories',
    'platform/node',
    'platform/browser/page',
    'platform/browser/worker',
    'platform/simulation',
    'platform/simulation/runs',
    'platform/simulation/workloads',
    'demo',
  ]) as Area[],
}

/** Where a platform and the public surface are put together: these may also import `src/index.ts`. */
const entries = [
  /^platform\/(node|browser\/page|browser\/worker|simulation)\/entry\.ts$/,
  /^platform\/simulation\/(cluster\.ts$|workloads\/)/,
  /^platform\/node\/(open|pool-threads|pool-thread)\.ts$/,
  /^platform\/browser\/page\/open\.ts$/,
  /^platform\/browser\/worker\/open-core\.ts$/,
  /^platform\/node\/cli\//,
]

/** The page loads at once only what it needs at once: `index.ts` would bring the whole core with it. */
const pageMayImport = /^src\/(database|rpc)\//
const pageEntries = /^platform\/browser\/page\/(entry|open)\.ts$/

interface Exception {
  readonly from: string
  readonly to: RegExp
  readonly why: string
}

const exceptions: readonly Exception[] = [
  {
    from: 'demo/start.mjs',
    to: /^test\/install-packages\.mjs$/,
    why: '`npm start` and `npm test` begin the same way',
  },
  {
    from: 'platform/browser/page/open.ts',
    to: /^platform\/browser\/worker\/(open-core|entry|inline)\.ts$/,
    why: '`worker: false` runs on the page what otherwise runs in the worker; `auto` names the worker to start',
  },
]

/** The demo's parts are tested in Node, where importing `harmonydb` means another platform: types and the error's brand come from src. */
const demoMayImport = /^src\/(database\/types|base\/errors)\.ts$/

/** Files other than shard's that need both raft and the storage at run time. */
const mayJoinRaftAndStorage: ReadonlyMap<string, string> = new Map([
  ['src/cluster/store.ts', 'opening a store replays the log into the state that raft starts from'],
])

const areas = Object.keys(allowed).filter(area => area !== 'root') as Area[]

export function areaOf(path: string): Area | undefined {
  for (const area of areas) if (path === area || path.startsWith(`${area}/`)) return area
  return path.includes('/') ? undefined : 'root'
}

export function importDirection(tree: Tree, granted: readonly Exception[] = exceptions): Violation[] {
  const found: Violation[] = []
  for (const { path, imports } of tree.values()) {
    const from = areaOf(path)
    for (const { target, line } of imports) {
      if (target === undefined) continue
      const to = areaOf(target)
      if (from === undefined || to === undefined || from === to) continue
      if (allowed[from].includes(to)) continue
      if (to === 'src/index.ts' && entries.some(entry => entry.test(path))) continue
      if (from === 'demo' && demoMayImport.test(target)) continue
      if (pageEntries.test(path) && pageMayImport.test(target)) continue
      if (granted.some(exception => exception.from === path && exception.to.test(target))) continue
      found.push({ path, line, message: `${from} must not import ${to} (${target})` })
    }
  }
  return found
}

/** raft and storage never meet except in shard: nobody else holds both at run time. */
export function raftMeetsStorage(tree: Tree): Violation[] {
  const found: Violation[] = []
  for (const { path, imports } of tree.values()) {
    if (!path.startsWith('src/') || path.startsWith('src/shard/') || mayJoinRaftAndStorage.has(path)) continue
    const values = imports.filter(one => !one.typeOnly)
    const raft = values.find(one => one.target?.startsWith('src/raft/'))
    const storage = values.find(one => one.target?.startsWith('src/storage/'))
    if (raft !== undefined && storage !== undefined) {
      found.push({ path, line: raft.line, message: 'raft and storage meet only in shard/' })
    }
  }
  return found
}

/** Relative imports name an existing file, with its extension. */
export function brokenImports(tree: Tree): Violation[] {
  const found: Violation[] = []
  for (const { path, imports } of tree.values()) {
    for (const { specifier, target, line } of imports) {
      if (!isRelative(specifier) || target !== undefined) continue
      // What is not text (an asset) or is generated is not in the tree.
      if (/\.(pbf|png|wasm)(\?|$)/.test(specifier) || posix.join(posix.dirname(path), specifier).startsWith('dist/')) {
        continue
      }
      found.push({ path, line, message: `"${specifier}" names no file; relative imports carry the extension` })
    }
  }
  return found
}

/** Every import cycle, types included: two files that know each other are one file, or have a third one inside them. */
export function cycles(tree: Tree): Violation[] {
  const order = new Map<string, number>()
  const low = new Map<string, number>()
  const stack: string[] = []
  const onStack = new Set<string>()
  const found: Violation[] = []
  const targets = (path: string): string[] => (tree.get(path)?.imports ?? []).flatMap(one => one.target ?? [])

  // Tarjan's strongly connected components.
  const connect = (path: string): void => {
    order.set(path, order.size)
    low.set(path, order.get(path)!)
    stack.push(path)
    onStack.add(path)
    for (const target of targets(path)) {
      if (!order.has(target)) {
        connect(target)
        low.set(path, Math.min(low.get(path)!, low.get(target)!))
      } else if (onStack.has(target)) low.set(path, Math.min(low.get(path)!, order.get(target)!))
    }
    if (low.get(path) !== order.get(path)) return
    const component = stack.splice(stack.indexOf(path))
    for (const member of component) onStack.delete(member)
    if (component.length === 1 && !targets(path).includes(path)) return
    const line = tree.get(path)?.imports.find(one => component.includes(one.target ?? ''))?.line ?? 1
    found.push({ path, line, message: `import cycle: ${component.sort().join(' -> ')}` })
  }
  for (const path of tree.keys()) if (!order.has(path)) connect(path)
  return found
}

const isRoot = (path: string): boolean =>
  !path.includes('/') ||
  /^test\/.*\.(test|spec)\.ts$/.test(path) ||
  /^platform\/(node|browser\/page|browser\/worker|simulation)\/entry\.ts$/.test(path) ||
  path === 'platform/node/cli/main.ts' ||
  path === 'platform/node/pool-thread.ts' ||
  path === 'platform/browser/worker/inline.ts' ||
  /^demo\/(index\.html|start\.mjs|vite\.config\.ts)$/.test(path) ||
  /^test\/run\.mjs$/.test(path) ||
  path.endsWith('.d.ts')

/** Files of code that no entry, no test and no configuration reaches. */
export function deadFiles(tree: Tree): Violation[] {
  const reached = new Set<string>()
  const queue = [...tree.keys()].filter(isRoot)
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (reached.has(path)) continue
    reached.add(path)
    const file = tree.get(path)
    if (file === undefined) continue
    for (const { target } of file.imports) if (target !== undefined) queue.push(target)
    // Prose mentions what it likes.
    if (!path.endsWith('.md')) queue.push(...file.mentions)
  }
  return [...tree.values()]
    .filter(({ path, code }) => (code !== undefined || path.endsWith('.css')) && !reached.has(path))
    .map(({ path }) => ({ path, line: 1, message: 'no entry and no test reaches this file' }))
}
