/**
 * `harmonydb import FILE.jsonl`: one {"key": …, "value": …} a line, in batches, in order.
 *
 * A line that cannot be imported is named by its number and left out; the others go in, and the exit status is 1. A batch is written
 * once, however often it is tried: it carries an idempotency key. Memory is one batch and one line.
 */
import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Database, HarmonyError, isHarmonyError, type Key, type Op } from '../../../src/index.ts'
import type { Result } from '../../../src/platform.ts'
import { type CommonOptions, withTarget } from './data-commands.ts'
import { CommandExit, describe, exitStatus, systemFailure, usage } from './exit-status.ts'
import { type Line, linesOf } from './lines.ts'
import type { Output } from './output.ts'
import { keyFromJson, parseJson, valueFromJson } from './tagged-json.ts'

export interface ImportOptions extends CommonOptions {
  readonly batch: number
}

/** Base64 in JSON of the largest value, with room for its key. */
const lineBytesMax = 32 * 1024 * 1024
const batchBytesMax = 1024 * 1024
/** How long a batch is tried while the cluster has no quorum. */
const patienceMs = 30_000
const retryPauseMs = 250
const problemsShownMax = 20

interface Batch {
  readonly ops: Op[]
  /** The line of each operation. */
  readonly lines: number[]
  bytes: number
}

export async function importFile(file: string, options: ImportOptions, output: Output): Promise<void> {
  const source = await openSource(file)
  await withTarget(options, true, output, db => new Import(db, source, options, output).run())
}

interface Source {
  readonly chunks: AsyncIterable<Uint8Array>
  readonly bytes: number | undefined
}

/** A file, or standard input for `-`. */
export async function openSource(file: string): Promise<Source> {
  if (file === '-') return { chunks: process.stdin, bytes: undefined }
  try {
    const found = await stat(file)
    if (found.isDirectory()) throw usage(`${file} is a directory`)
    return {
      chunks: createReadStream(file, { highWaterMark: 256 * 1024 }),
      bytes: found.isFile() ? found.size : undefined,
    }
  } catch (cause) {
    if (cause instanceof CommandExit) throw cause
    throw systemFailure(`${file} cannot be read`, cause)
  }
}

class Import {
  private readonly db: Database
  private readonly source: Source
  private readonly options: ImportOptions
  private readonly output: Output
  private readonly importId = randomUUID()
  private readonly progress: Progress
  private batches = 0
  private imported = 0
  private problems = 0
  private batch: Batch = { ops: [], lines: [], bytes: 0 }

  constructor(db: Database, source: Source, options: ImportOptions, output: Output) {
    this.db = db
    this.source = source
    this.options = options
    this.output = output
    this.progress = new Progress(source.bytes, output)
  }

  async run(): Promise<void> {
    try {
      for await (const line of linesOf(this.counted(), lineBytesMax)) await this.take(line)
    } catch (cause) {
      if (isHarmonyError(cause) || cause instanceof CommandExit) throw this.stopped(cause)
      throw this.stopped(systemFailure('the input cannot be read on', cause))
    }
    await this.flush()
    const { imported, problems } = this
    this.progress.end()
    const summary = { imported, skipped: problems, seconds: Number(this.progress.seconds.toFixed(3)) }
    if (this.options.json) await this.output.line(JSON.stringify(summary))
    else this.output.note(`imported ${imported} in ${summary.seconds} s (${this.progress.rate(imported)}/s)`)
    if (problems > 0) throw new CommandExit(exitStatus.failed, `${problems} lines were not imported`)
  }

  private async *counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of this.source.chunks) {
      yield chunk
      this.progress.bytes += chunk.length
    }
  }

  private async take(line: Line): Promise<void> {
    if ('problem' in line) return this.problem(line.number, line.problem)
    if (line.text.trim() === '') return
    const parsed = parseRecord(line.text)
    if (!parsed.ok) return this.problem(line.number, parsed.error.message)
    const { batch } = this
    // Written alone, a line that is too large cannot take others down with it.
    if (batch.bytes + line.text.length > batchBytesMax) await this.flush()
    this.batch.ops.push({ type: 'put', ...parsed.value })
    this.batch.lines.push(line.number)
    this.batch.bytes += line.text.length
    if (this.batch.ops.length >= this.options.batch) await this.flush()
  }

  private async flush(): Promise<void> {
    const { batch } = this
    if (batch.ops.length === 0) return
    this.batch = { ops: [], lines: [], bytes: 0 }
    try {
      await this.write(batch.ops)
      this.imported += batch.ops.length
    } catch (error) {
      if (!isHarmonyError(error) || !isOfOneLine(error)) throw error
      await this.oneByOne(batch)
    }
    this.progress.tell(this.imported)
  }

  /** One of them cannot be stored (its key or value): find which, and write the others. */
  private async oneByOne({ ops, lines }: Batch): Promise<void> {
    for (const [i, op] of ops.entries()) {
      try {
        await this.write([op])
        this.imported++
      } catch (error) {
        if (!isHarmonyError(error) || !isOfOneLine(error)) throw error
        this.problem(lines[i] ?? 0, describe(error))
      }
    }
  }

  private async write(ops: readonly Op[]): Promise<void> {
    const idempotencyKey = `import-${this.importId}-${this.batches++}`
    const { timeoutMs } = this.options
    const untilMs = performance.now() + patienceMs
    for (;;) {
      try {
        await this.db.batch(ops, { idempotencyKey, timeoutMs })
        return
      } catch (error) {
        const again = isHarmonyError(error) && (error.retryable || error.code === 'COMMIT_UNKNOWN')
        if (!again || performance.now() > untilMs) throw error
        this.progress.note(`${describe(error)}; trying again`)
        await sleep(retryPauseMs)
      }
    }
  }

  private problem(line: number, message: string): void {
    this.problems++
    if (this.problems <= problemsShownMax) this.progress.note(`line ${line}: ${message}`)
    if (this.problems === problemsShownMax) this.progress.note('further lines are only counted')
  }

  /** The failure, and how far the import came. */
  private stopped(error: HarmonyError | CommandExit): Error {
    this.progress.end()
    const message = `${error.message}; ${this.imported} records were imported before that`
    if (error instanceof CommandExit) return new CommandExit(error.status, message)
    const { code, retryable, maybeCommitted } = error
    return new HarmonyError(code, message, { retryable, maybeCommitted, cause: error })
  }
}

const isOfOneLine = ({ code }: HarmonyError): boolean =>
  code === 'INVALID_KEY' || code === 'INVALID_VALUE' || code === 'TOO_LARGE'

export function parseRecord(text: string): Result<{ readonly key: Key; readonly value: unknown }> {
  const parsed = parseJson(text)
  if (!parsed.ok) return parsed
  const record = parsed.value
  if (
    typeof record !== 'object' ||
    record === null ||
    !Object.hasOwn(record, 'key') ||
    !Object.hasOwn(record, 'value')
  ) {
    return { ok: false, error: new HarmonyError('VALIDATION', 'it is no object with "key" and "value"') }
  }
  const { key, value } = record as { key: unknown; value: unknown }
  const decodedKey = keyFromJson(key)
  if (!decodedKey.ok) return decodedKey
  const decoded = valueFromJson(value)
  return decoded.ok ? { ok: true, value: { key: decodedKey.value, value: decoded.value } } : decoded
}

/** On a terminal one line that is written over, elsewhere a line every few seconds. */
class Progress {
  bytes = 0
  private readonly bytesTotal: number | undefined
  private readonly output: Output
  private readonly begunMs = performance.now()
  private readonly terminal = process.stderr.isTTY === true
  private toldMs = performance.now()
  private drawn = false

  constructor(bytesTotal: number | undefined, output: Output) {
    this.bytesTotal = bytesTotal
    this.output = output
  }

  get seconds(): number {
    return (performance.now() - this.begunMs) / 1000
  }

  rate(count: number): number {
    return Math.round(count / Math.max(this.seconds, 0.001))
  }

  tell(imported: number): void {
    const now = performance.now()
    if (now - this.toldMs < (this.terminal ? 100 : 2_000)) return
    this.toldMs = now
    const text = `${imported} imported, ${this.rate(imported)}/s${this.remaining()}`
    if (!this.terminal) return this.output.note(text)
    this.drawn = true
    process.stderr.write(`\r\x1b[K${text}`)
  }

  private remaining(): string {
    if (this.bytesTotal === undefined || this.bytes === 0) return ''
    const done = Math.min(1, this.bytes / this.bytesTotal)
    const etaSeconds = (this.seconds / done) * (1 - done)
    return `, ${Math.floor(done * 100)} %, ${Math.ceil(etaSeconds)} s to go`
  }

  note(text: string): void {
    this.end()
    this.output.note(text)
  }

  /** Clears the line that is written over. */
  end(): void {
    if (this.drawn) process.stderr.write('\r\x1b[K')
    this.drawn = false
  }
}
