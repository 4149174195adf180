/**
 * What the demo's tests stand on: the built page and signalling on one loopback origin, a Node peer from the built command line,
 * and a tab as a person sees it (only through what is on the page).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BrowserContext, expect, type Locator, type Page } from '@playwright/test'
import { pause } from '../../demo/pace.ts'
import { readSettings } from '../../demo/settings.ts'
import { attachSignaling } from '../../platform/node/signaling/server.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const site = join(root, 'dist/demo')
const commandLine = join(root, 'dist/node/cli.js')
const shots = join(root, 'test-results')

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

export interface DemoSite {
  readonly url: string
  readonly signalUrl: string
  stop(): Promise<void>
}

/** The page and, unless told otherwise, signalling, on a free port. */
export async function startSite(signaling = true): Promise<DemoSite> {
  if (!existsSync(join(site, 'index.html'))) throw new Error('build the demo first: npx vite build demo')
  const server = http.createServer((request, response) => {
    void serveFile(request.url ?? '/', response)
  })
  const introductions = signaling ? attachSignaling(server) : undefined
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/`,
    signalUrl: `ws://127.0.0.1:${port}/signal`,
    async stop() {
      await introductions?.close()
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

async function serveFile(address: string, response: http.ServerResponse): Promise<void> {
  const path = normalize(new URL(address, 'http://localhost').pathname)
  const file = join(site, path.endsWith('/') ? `${path}index.html` : path)
  try {
    const body = await readFile(file)
    response.writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream' }).end(body)
  } catch {
    response.writeHead(404).end()
  }
}

export interface CommandResult {
  readonly code: number | null
  readonly out: string
}

/** `harmonydb ARGUMENTS`, to its end. */
export async function harmonydb(...given: readonly string[]): Promise<CommandResult> {
  const child = spawn(process.execPath, [commandLine, ...given], { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (out += chunk.toString()))
  const code = await new Promise<number | null>(resolve => child.on('close', resolve))
  return { code, out }
}

export interface NodePeer {
  readonly child: ChildProcess
  readonly dir: string
  stop(): Promise<void>
}

/** A Node peer in the room of this address, with a directory of its own; resolves once it has joined. */
export async function startNodePeer(site: DemoSite, address: string): Promise<NodePeer> {
  const { room, secret } = readSettings(new URL(address))
  const dir = await mkdtemp(join(tmpdir(), 'harmonydb-demo-'))
  const where = ['--dir', dir, '--room', room, '--secret', secret, '--signaling', site.signalUrl, '--port', '0']
  const child = spawn(process.execPath, [commandLine, 'serve', '--json', ...where], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  const closed = new Promise<void>(resolve => child.on('close', () => resolve()))
  const joined = new Promise<void>(resolve => {
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        if (said.includes('"event":"joined"')) resolve()
      })
  })
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    await closed
    await rm(dir, { recursive: true, force: true })
  }
  const outcome = await Promise.race([joined.then(() => 'joined'), closed.then(() => 'ended'), pause(20_000)])
  if (outcome !== 'joined') {
    await stop()
    throw new Error(`the Node peer did not join: ${said}`)
  }
  return { child, dir, stop }
}

/** One tab, as a person sees it. */
export class DemoTab {
  readonly page: Page
  /** Requests to any other origin; there must be none. */
  readonly strangers: string[] = []

  constructor(page: Page, origin: string) {
    this.page = page
    page.on('request', request => {
      const { protocol, href } = new URL(request.url())
      if (protocol !== 'data:' && protocol !== 'blob:' && !href.startsWith(origin)) this.strangers.push(href)
    })
  }

  static async open(context: BrowserContext, address: string): Promise<DemoTab> {
    const tab = new DemoTab(await context.newPage(), new URL(address).origin)
    await tab.page.goto(address)
    return tab
  }

  part(testId: string): Locator {
    return this.page.getByTestId(testId)
  }

  /** This tab's whole peer id; waits until it has one. */
  async id(): Promise<string> {
    await expect(this.part('peer-id')).toHaveAttribute('data-id', /^[0-9a-f]{32}$/)
    return (await this.part('peer-id').getAttribute('data-id')) ?? ''
  }

  members(): Locator {
    return this.part('member')
  }

  /** Waits until this tab is a healthy member of a cluster of so many. */
  async settled(members: number, timeout = 20_000): Promise<void> {
    await expect(this.members()).toHaveCount(members, { timeout })
    await expect(this.part('health')).toHaveAttribute('data-health', 'ok', { timeout })
    await expect(this.page.locator('body')).toHaveAttribute('data-state', 'ok', { timeout })
  }

  async leader(): Promise<string> {
    return (await this.part('leader').getAttribute('data-id')) ?? ''
  }

  async cluster(): Promise<string> {
    return (await this.part('member-count').getAttribute('data-cluster')) ?? ''
  }

  async isLeader(): Promise<boolean> {
    return (await this.part('role').getAttribute('data-role')) === 'leader'
  }

  /** As a person does who wants to press something: a tab in the background draws once a second, and a click waits for two drawings. */
  private front(): Promise<void> {
    return this.page.bringToFront()
  }

  async click(testId: string): Promise<void> {
    await this.front()
    await this.part(testId).click()
  }

  async screenshot(name: string): Promise<void> {
    await this.front()
    await this.page.screenshot({ path: join(shots, name), fullPage: true })
  }

  async read(consistency: 'linearizable' | 'local'): Promise<void> {
    await this.front()
    await this.part(`consistency-${consistency}`).check()
  }

  /** Puts and waits for the answer; its kind is `done` or `refused`. */
  async put(key: string, value: string): Promise<void> {
    await this.part('put-key').fill(key)
    await this.part('put-value').fill(value)
    await this.click('put-button')
  }

  async get(key: string): Promise<void> {
    await this.part('put-key').fill(key)
    await this.click('get-button')
  }

  async expectResult(kind: string, value: string, timeout = 5_000): Promise<void> {
    await expect(this.part('result')).toHaveAttribute('data-kind', kind, { timeout })
    if (value !== '') await expect(this.part('result-value')).toHaveText(value)
  }

  row(key: string): Locator {
    return this.page.locator(`[data-testid="data-row"][data-key='${key}']`)
  }
}

/** The tab that leads, waiting until exactly one of them says so. */
export async function leaderOf(tabs: readonly DemoTab[], timeout = 10_000): Promise<DemoTab> {
  let leaders: DemoTab[] = []
  await expect
    .poll(
      async () => {
        const flags = await Promise.all(tabs.map(tab => tab.isLeader()))
        leaders = tabs.filter((_, i) => flags[i])
        return leaders.length
      },
      { timeout },
    )
    .toBe(1)
  return leaders[0]!
}

/** Every tab names the same one leader; its id. */
export async function sameLeader(tabs: readonly DemoTab[], timeout = 10_000): Promise<string> {
  let names: string[] = []
  await expect
    .poll(
      async () => {
        names = await Promise.all(tabs.map(tab => tab.leader()))
        return new Set(names).size === 1 && names[0] !== ''
      },
      { timeout },
    )
    .toBe(true)
  return names[0]!
}
