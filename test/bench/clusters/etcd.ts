/** Three etcd servers on loopback, each with a directory of its own, everything else by default; the client is a process of its own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { NotInstalled } from '../stores/store.ts'
import { Asked } from './asked.ts'
import { type Cluster, type ClusterOptions, until } from './cluster.ts'

const size = 3
const command = process.env.ETCD_PATH ?? 'etcd'

const running = new Set<ChildProcess>()
export const killEtcd = (): void => {
  for (const server of running) server.kill('SIGKILL')
}

interface Node {
  readonly url: string
  readonly args: readonly string[]
  server: ChildProcess | undefined
}

export async function startEtcd({ dir, childScript }: ClusterOptions): Promise<Cluster> {
  if (spawnSync(command, ['--version'], { stdio: 'ignore' }).status !== 0) {
    throw new NotInstalled(
      'there is no etcd: `apt-get install etcd-server` (Debian, Ubuntu), or its binary from github.com/etcd-io/etcd/releases named in ETCD_PATH',
    )
  }
  const ports = await freePorts(2 * size)
  const peerUrl = (i: number): string => `http://127.0.0.1:${ports[size + i]}`
  const everybody = Array.from({ length: size }, (_, i) => `n${i}=${peerUrl(i)}`).join(',')
  const nodes = Array.from({ length: size }, (_, i): Node => {
    const url = `http://127.0.0.1:${ports[i]}`
    const args = ['--name', `n${i}`, '--data-dir', join(dir, `etcd-${i}`), '--initial-cluster', everybody]
    args.push('--listen-client-urls', url, '--advertise-client-urls', url)
    args.push('--listen-peer-urls', peerUrl(i), '--initial-advertise-peer-urls', peerUrl(i))
    return { url, args, server: undefined }
  })
  const start = (node: Node): void => {
    const server = spawn(command, node.args, { stdio: 'ignore' })
    node.server = server
    running.add(server)
    server.on('close', () => running.delete(server))
  }
  const leaders = async (): Promise<Node[]> => {
    const lead = await Promise.all(nodes.map(({ url }) => leads(url)))
    return nodes.filter((_, i) => lead[i] === true)
  }
  const settled = (): Promise<void> =>
    until(async () => {
      const lead = await Promise.all(nodes.map(({ url }) => leads(url)))
      return !lead.includes(undefined) && lead.filter(Boolean).length === 1
    }, 'three etcd servers that have a leader')
  const lose = async (signal: NodeJS.Signals): Promise<void> => {
    const [leader] = await leaders()
    const { server } = leader!
    leader!.server = undefined
    const closed = new Promise(resolve => server!.on('close', resolve))
    server!.kill(signal)
    await closed
  }
  const clients: Asked[] = []
  const clientOf = async (node: Node, engine: 'etcd' | 'etcd-gateway'): Promise<Asked> => {
    const client = new Asked(childScript)
    clients.push(client)
    await client.ask('open', { engine, host: node.url })
    return client
  }

  for (const node of nodes) start(node)
  await settled()
  return {
    // As near as can be: the client of the leader.
    callers: async () => ({ etcd: await clientOf((await leaders())[0]!, 'etcd') }),
    async writer() {
      const [leader] = await leaders()
      return clientOf(nodes.find(node => node !== leader)!, 'etcd-gateway')
    },
    loseLeader: { 'failover-kill': () => lose('SIGKILL'), 'failover-close': () => lose('SIGTERM') },
    async restore() {
      for (const node of nodes) if (node.server === undefined) start(node)
      await settled()
    },
    async end() {
      await Promise.all(clients.map(client => client.kill()))
      await Promise.all(
        nodes.map(({ server }) => {
          const closed = new Promise(resolve => server?.on('close', resolve) ?? resolve(undefined))
          server?.kill('SIGKILL')
          return closed
        }),
      )
    },
  }
}

/** Undefined: it does not answer, or knows no leader. */
async function leads(url: string): Promise<boolean | undefined> {
  try {
    const response = await fetch(`${url}/v3/maintenance/status`, { method: 'POST', body: '{}' })
    const { header, leader } = (await response.json()) as { header?: { member_id: string }; leader?: string }
    return leader === undefined || leader === '0' ? undefined : header?.member_id === leader
  } catch {
    return undefined
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
      return server
    }),
  )
  return Promise.all(
    servers.map(async server => {
      const address = server.address()
      await new Promise(resolve => server.close(resolve))
      return typeof address === 'object' && address !== null ? address.port : 0
    }),
  )
}
