/**
 * `npm start`: from a fresh clone to a running demo. Installs what is missing, builds what is stale, then runs one `harmonydb serve`: a Node
 * peer in the demo's room, with signalling and the built page on the same address. Ends with Ctrl-C. Plain JavaScript: it runs before
 * anything is installed.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { installPackages } from '../test/install-packages.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const host = '127.0.0.1'
const portFirst = 8080
const portsTried = 100
/** What the page uses by itself (settings.ts; a test keeps them equal). */
const room = 'demo'
const secret = 'harmonydb-demo: this secret is public'
const data = join(root, '.demo')
/** After so long without a quorum a hint is due. */
const patienceMs = 20_000

const help = `npm start -- [options]

  --port PORT   the demo's port (default: ${portFirst}, or the next free one)
  --fresh       forget what the Node peer of earlier runs has stored
  --help        this

Installs and builds what is needed, then serves the demo, signalling and one Node peer on ${host} until Ctrl-C.`

const { port: asked, fresh } = parseArguments(process.argv.slice(2))
installPackages()
build()
if (fresh) rmSync(data, { recursive: true, force: true })
mkdirSync(data, { recursive: true })
const port = asked ?? (await freePort())
run(port)

function parseArguments(args) {
  const options = { port: undefined, fresh: false }
  for (let at = 0; at < args.length; at++) {
    const argument = args[at]
    if (argument === '--help' || argument === '-h') end(help, 0)
    else if (argument === '--fresh') options.fresh = true
    else if (argument === '--port' && /^[0-9]{1,5}$/.test(args[at + 1] ?? '') && Number(args[at + 1]) <= 65_535) {
      options.port = Number(args[++at])
    } else end(`npm start does not know ${args.slice(at).join(' ')}\n\n${help}`, 2)
  }
  return options
}

function end(text, status) {
  console.log(text)
  process.exit(status)
}

/** Builds anew what is older than its sources. */
function build() {
  const shared = ['src', 'platform', 'package.json', 'package-lock.json']
  if (isStale('dist/node/cli.js', [...shared, 'tsup.config.ts'])) {
    console.log('building the library')
    // The declarations are for those who use the package; the demo needs none.
    node('node_modules/tsup/dist/cli-default.js', '--no-dts')
  }
  if (isStale('dist/demo/index.html', [...shared, 'demo'])) {
    console.log('building the demo')
    node('node_modules/vite/bin/vite.js', 'build', 'demo', '--logLevel', 'warn')
  }
}

function isStale(built, sources) {
  const builtMs = newestMs(built)
  return builtMs === 0 || sources.some(source => newestMs(source) > builtMs)
}

/** When the newest file at or below a path was written; 0 where there is none. */
function newestMs(path) {
  const stats = statSync(join(root, path), { throwIfNoEntry: false })
  if (stats === undefined) return 0
  if (!stats.isDirectory()) return stats.mtimeMs
  return Math.max(0, ...readdirSync(join(root, path)).map(name => newestMs(join(path, name))))
}

function node(...command) {
  const { status } = spawnSync(process.execPath, command, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(1)
}

async function freePort() {
  for (let candidate = portFirst; candidate < portFirst + portsTried; candidate++) {
    if (await isFree(candidate)) return candidate
  }
  end(`no port from ${portFirst} to ${portFirst + portsTried - 1} is free; choose one with --port`, 1)
}

function isFree(candidate) {
  return new Promise(resolve => {
    const server = net.createServer()
    server.once('error', () => resolve(false))
    server.listen(candidate, host, () => server.close(() => resolve(true)))
  })
}

function run(chosen) {
  const serve = ['dist/node/cli.js', 'serve', '--json', '--name', 'node-peer', '--dir', join(data, 'node-peer.harmony')]
  const where = ['--host', host, '--port', String(chosen), '--web', 'dist/demo', '--room', room]
  const peer = spawn(process.execPath, [...serve, ...where], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, HARMONYDB_SECRET: secret },
  })
  let stopping = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      stopping = true
      peer.kill('SIGTERM')
    })
  }
  let hint
  createInterface({ input: peer.stdout }).on('line', line => {
    const event = JSON.parse(line)
    clearTimeout(event.event === 'health' ? hint : undefined)
    if (event.event === 'health' && event.health !== 'ok' && event.health !== 'solo') {
      hint = setTimeout(() => {
        console.log('No quorum: members of earlier runs are away. Open their tabs, or start anew: npm start -- --fresh')
      }, patienceMs)
    }
    for (const text of told(event)) console.log(text)
  })
  peer.on('error', error => end(`the Node peer cannot be started: ${error.message}`, 1))
  peer.on('close', status => {
    clearTimeout(hint)
    if (stopping) console.log('stopped')
    process.exit(stopping ? 0 : (status ?? 1))
  })
}

function told(event) {
  switch (event.event) {
    case 'listening':
      return [
        `Node peer ${event.peer.slice(0, 8)}: .demo/node-peer.harmony, signalling ${event.signal}`,
        `HarmonyDB demo: ${event.url}`,
        'Open it in several tabs. Ctrl-C ends it.',
      ]
    case 'health':
      return [`${event.health}, ${event.role}, leader ${event.leader?.slice(0, 8) ?? 'none'}, term ${event.term}`]
    case 'member':
      return [`member ${event.id.slice(0, 8)} ${event.change}`]
    case 'joined':
      return [`joined room ${event.room}`]
    case 'error':
    case 'retrying':
      return [`${event.code}: ${event.message}`]
    case 'repaired':
      return [`repaired: ${event.message}`]
    default:
      return []
  }
}
