/**
 * What the tests of the command line and of killed processes share: HarmonyDB's Node entry and command line, bundled on demand into a
 * folder of this process, commands run to their end, and `serve` as a process that is watched and always stopped.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { build, type Plugin } from 'esbuild'
import { runCommandLine } from '../../platform/node/cli/run.ts'

const root = join(import.meta.dirname, '../..')
const commandMsMax = 30_000

export interface Bundle {
  readonly cli: string
  /** The package's entry in Node. */
  readonly index: string
  /** `child-puts.ts`, see there. */
  readonly childPuts: string
  /** `child-script.ts`, see there. */
  readonly childScript: string
  /** `child-memory.ts`, see there. */
  readonly childMemory: string
  remove(): void
}

/** Below `node_modules`, so that the packages that stay imports are found. */
export async function bundle(plugins: Plugin[] = []): Promise<Bundle> {
  const cache = join(root, 'node_modules/.cache')
  mkdirSync(cache, { recursive: true })
  const outdir = mkdtempSync(join(cache, 'harmonydb-test-'))
  await build({
    absWorkingDir: root,
    entryPoints: {
      cli: 'platform/node/cli/main.ts',
      index: 'platform/node/entry.ts',
      childPuts: 'test/node/child-puts.ts',
      childScript: 'test/node/child-script.ts',
      childMemory: 'test/node/child-memory.ts',
    },
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    packages: 'external',
    plugins,
    outdir,
    outExtension: { '.js': '.mjs' },
  })
  return {
    cli: join(outdir, 'cli.mjs'),
    index: join(outdir, 'index.mjs'),
    childPuts: join(outdir, 'childPuts.mjs'),
    childScript: join(outdir, 'childScript.mjs'),
    childMemory: join(outdir, 'childMemory.mjs'),
    remove: () => rmSync(outdir, { recursive: true, force: true }),
  }
}

export interface TemporaryFolder {
  readonly path: string
  in(name: string): string
  remove(): void
}

export function temporaryFolder(): TemporaryFolder {
  const path = mkdtempSync(join(tmpdir(), 'harmonydb-test-'))
  return { path, in: name => join(path, name), remove: () => rmSync(path, { recursive: true, force: true }) }
}

export interface Ended {
  readonly status: number | null
  readonly out: string
  readonly err: string
}

/** Of what a command printed. */
export const linesOf = (text: string): string[] => text.trimEnd().split('\n')

export interface RunOptions {
  readonly cwd?: string
  readonly stdin?: string | Uint8Array
  readonly env?: Readonly<Record<string, string>>
  /** No file can grow beyond this: what a full disk is to the database. In KiB; needs bash. */
  readonly fileKibMax?: number
  /** Close the reading end of its standard output after the first bytes. */
  readonly hangUp?: boolean
}

/** Without what the shell that runs the tests may have set. */
function environment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const { HARMONYDB_SECRET: _, ...inherited } = process.env
  return { ...inherited, ...extra }
}

/** The program and its arguments. */
function commandOf(script: string, args: readonly string[], { fileKibMax }: RunOptions): [string, string[]] {
  if (fileKibMax === undefined) return [process.execPath, [script, ...args]]
  const limited = `ulimit -f ${fileKibMax}; exec "$@"`
  return ['bash', ['-c', limited, 'bash', process.execPath, script, ...args]]
}

/** Runs one command to its end; one that takes too long is killed and has the status null. */
export function run(script: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const child = spawn(...commandOf(script, args, options), {
    cwd: options.cwd ?? tmpdir(),
    env: environment(options.env),
    stdio: 'pipe',
  })
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    out += text
    if (options.hangUp === true) child.stdout.destroy()
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    err += text
  })
  child.stdin.on('error', () => {}) // it may end before it has read everything
  child.stdin.end(options.stdin ?? '')
  const limit = setTimeout(() => child.kill('SIGKILL'), commandMsMax)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', status => {
      clearTimeout(limit)
      resolve({ status, out, err })
    })
  })
}

/**
 * Runs one command in this process, which takes a tenth of the time: for all that does not concern pipes, signals, the environment
 * or the working directory.
 */
export async function runHere(args: readonly string[]): Promise<Ended> {
  let out = ''
  let err = ''
  const raw = async (content: Uint8Array | string): Promise<void> => {
    out += typeof content === 'string' ? content : new TextDecoder().decode(content)
  }
  const note = (text: string): void => {
    err += `${text}\n`
  }
  const output = { raw, line: (text: string) => raw(`${text}\n`), note }
  const untilStopped = (): Promise<string> => new Promise(() => {})
  const status = await runCommandLine(args, { output, version: '1.2.3', untilStopped })
  return { status, out, err }
}

/** Runs a module, given as text, to its end. */
export const runText = (module: string, options: RunOptions = {}): Promise<Ended> =>
  run('--input-type=module', ['-e', module], options)

/** A process whose lines of standard output are watched. */
export class Watched {
  readonly process: ChildProcess
  readonly lines: string[] = []
  err = ''
  private status: number | null | undefined
  private readonly waiting = new Set<() => void>()

  constructor(script: string, args: readonly string[], options: RunOptions = {}) {
    this.process = spawn(...commandOf(script, args, options), {
      cwd: options.cwd ?? tmpdir(),
      env: environment(options.env),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const { stdout, stderr } = this.process
    if (stdout === null || stderr === null) throw new Error('no pipes')
    createInterface({ input: stdout }).on('line', line => {
      this.lines.push(line)
      this.wake()
    })
    stderr.setEncoding('utf8').on('data', text => {
      this.err += text
    })
    this.process.once('close', status => {
      this.status = status
      this.wake()
    })
  }

  /** The first line for which `pick` has an answer. */
  async line<T>(pick: (line: string) => T | undefined, what: string, timeoutMs = 20_000): Promise<T> {
    let seen = 0
    return this.until(
      () => {
        for (; seen < this.lines.length; seen++) {
          const picked = pick(this.lines[seen] as string)
          if (picked !== undefined) return picked
        }
        return undefined
      },
      what,
      timeoutMs,
    )
  }

  /** Its exit status; null if a signal ended it. */
  async ended(timeoutMs = 20_000): Promise<number | null> {
    const end = await this.until(() => this.status !== undefined && { status: this.status }, 'its end', timeoutMs)
    return end.status
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.status === undefined) this.process.kill(signal)
    try {
      return await this.ended()
    } catch (error) {
      this.process.kill('SIGKILL')
      throw error
    }
  }

  private async until<T>(find: () => T | undefined | false, what: string, timeoutMs: number): Promise<T> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const found = find()
      if (found !== undefined && found !== false) return found
      const leftMs = deadline - performance.now()
      if (leftMs <= 0 || (this.status !== undefined && what !== 'its end')) {
        const said = [...this.lines.slice(-20), this.err].join('\n')
        throw new Error(`${what} did not come (status ${this.status}); the process said:\n${said}`)
      }
      await new Promise<void>(resolve => {
        const timer = setTimeout(wake, Math.min(leftMs, 1_000))
        const { waiting } = this
        function wake(): void {
          clearTimeout(timer)
          waiting.delete(wake)
          resolve()
        }
        waiting.add(wake)
      })
    }
  }

  private wake(): void {
    for (const wake of [...this.waiting]) wake()
  }
}

export interface Listening {
  /** http://host:port/ */
  readonly url: string
  /** ws://host:port/signal */
  readonly signal: string
  readonly peer: string
}

/** `harmonydb serve`, once it listens. */
export async function startServe(
  script: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Watched & Listening> {
  const watched = new Watched(script, ['serve', '--port', '0', '--json', ...args], options)
  try {
    const listening = await watched.line(line => eventOf(line, 'listening'), 'listening')
    return Object.assign(watched, listening as unknown as Listening)
  } catch (error) {
    watched.process.kill('SIGKILL')
    throw error
  }
}

/** The fields of a line of `serve --json` that tells this event. */
export function eventOf(line: string, event: string): Readonly<Record<string, unknown>> | undefined {
  const told = JSON.parse(line) as Readonly<Record<string, unknown>>
  return told.event === event ? told : undefined
}
