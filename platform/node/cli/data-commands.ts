/** The commands that read and write data: get, put, delete, scan, status. */
import type { Consistency, Database, Key, KeyPart, Member, Range } from '../../../src/index.ts'
import type { Result } from '../../../src/platform.ts'
import { CommandExit, exitStatus, usage } from './exit-status.ts'
import type { Output } from './output.ts'
import { encode, keyToText, parseKey, parseValue, valueToText } from './tagged-json.ts'
import { openTarget, type Place, type Target } from './target.ts'

export interface CommonOptions extends Place {
  readonly json: boolean
  readonly timeoutMs: number
}

export interface ReadingOptions extends CommonOptions {
  readonly consistency: Consistency
}

const startMsMax = 2_000

/** Opens what the options name, runs, and closes it however that ends. */
export async function withTarget<T>(
  place: Place,
  create: boolean,
  output: Output,
  run: (db: Database, target: Target) => Promise<T>,
): Promise<T> {
  const target = await openTarget(place, create, output.note)
  let result: T
  try {
    result = await run(target.db, target)
  } catch (error) {
    // What went wrong first says more than what went wrong because of it.
    await target.close().catch(() => {})
    throw error
  }
  await target.close()
  return result
}

export async function get(
  text: string,
  options: ReadingOptions & { readonly raw: boolean },
  output: Output,
): Promise<void> {
  const key = taken(parseKey(text))
  const { consistency, timeoutMs } = options
  await withTarget(options, false, output, async db => {
    const entry = await db.getEntry(key, { consistency, timeoutMs })
    if (entry === undefined) throw new CommandExit(exitStatus.notFound, `there is no key ${shownKey(key)}`)
    const { value, version } = entry
    if (options.json) await output.line(JSON.stringify({ key: entry.key.map(encode), value: encode(value), version }))
    else if (options.raw && value instanceof Uint8Array) await output.raw(value)
    else if (options.raw && typeof value === 'string') await output.raw(value)
    else await output.line(valueToText(value))
  })
}

export interface WritingOptions extends CommonOptions {
  readonly ifVersion: string | undefined
  readonly ifAbsent: boolean
}

export async function put(
  keyText: string,
  valueText: string,
  options: WritingOptions & { readonly string: boolean },
  output: Output,
): Promise<void> {
  const key = taken(parseKey(keyText))
  const value = options.string ? valueText : taken(parseValue(valueText))
  const conditions = writeOptions(options)
  await withTarget(options, true, output, async db => {
    const { version } = await db.put(key, value, conditions)
    await output.line(options.json ? JSON.stringify({ version }) : version)
  })
}

export async function remove(text: string, options: WritingOptions, output: Output): Promise<void> {
  const key = taken(parseKey(text))
  const conditions = writeOptions(options)
  await withTarget(options, false, output, async db => {
    const { version } = await db.delete(key, conditions)
    await output.line(options.json ? JSON.stringify({ version }) : version)
  })
}

function writeOptions({ ifVersion, ifAbsent, timeoutMs }: WritingOptions) {
  if (ifAbsent && ifVersion !== undefined) throw usage('--if-absent and --if-version exclude each other')
  if (ifAbsent) return { timeoutMs, ifVersion: null }
  return ifVersion === undefined ? { timeoutMs } : { timeoutMs, ifVersion }
}

export interface ScanningOptions extends ReadingOptions {
  readonly prefix: string | undefined
  readonly start: string | undefined
  readonly end: string | undefined
  readonly limit: number | undefined
  readonly reverse: boolean
  readonly keysOnly: boolean
}

export async function scan(options: ScanningOptions, output: Output): Promise<void> {
  const { consistency, timeoutMs, reverse, keysOnly, limit } = options
  const range = rangeOf(options)
  await withTarget(options, false, output, async db => {
    const entries = db.scan(range, {
      consistency,
      timeoutMs,
      reverse,
      keysOnly,
      ...(limit === undefined ? {} : { limit }),
    })
    for await (const { key, value, version } of entries) {
      if (options.json) {
        const shown = { key: key.map(encode), ...(keysOnly ? {} : { value: encode(value) }), version }
        await output.line(JSON.stringify(shown))
      } else await output.line(keysOnly ? keyToText(key) : `${keyToText(key)}\t${valueToText(value)}`)
    }
  })
}

function rangeOf({ prefix, start, end }: ScanningOptions): Range {
  const bounds = {
    ...(start === undefined ? {} : { start: taken(parseKey(start)) }),
    ...(end === undefined ? {} : { end: taken(parseKey(end)) }),
  }
  return prefix === undefined ? bounds : { prefix: taken(parseKey(prefix)), ...bounds }
}

export async function status(options: CommonOptions, output: Output): Promise<void> {
  await withTarget(options, false, output, async (db, { through, dir }) => {
    if (through === 'directory') await hasStarted(db)
    const cluster = db.cluster.status()
    const members = db.cluster.members()
    const numbers = db.status()
    if (options.json) {
      await output.line(JSON.stringify({ dir, through, cluster, members, status: numbers }))
      return
    }
    const { storage, cache, log, prepared } = numbers
    const lines = [
      `directory  ${dir} (${through === 'peer' ? 'through the running peer' : 'no peer runs on it'})`,
      `peer       ${cluster.self}, ${cluster.role}`,
      `cluster    ${cluster.clusterId}, ${cluster.room === undefined ? 'no room' : `room ${cluster.room}`}`,
      `health     ${cluster.health}, leader ${cluster.leader ?? 'none'}, term ${cluster.term}`,
      `log        last ${cluster.lastIndex}, committed ${cluster.commitIndex}, applied ${cluster.appliedIndex}, ${log.syncs} syncs`,
      `storage    ${storage.keys} keys, ${storage.bytes} bytes, log ${storage.logBytes} bytes, ${storage.durability}`,
      `pages      ${storage.usedBytes} of ${storage.fileBytes} bytes in use, ${storage.checkpoints} checkpoints`,
      `cache      ${cache.bytes} of ${cache.bytesMax} bytes, ${cache.dirtyBytes} not written yet, ${cache.hits} hits, ${cache.misses} misses`,
      ...(prepared.transactions === 0
        ? []
        : [`prepared   ${prepared.transactions} transactions, ${prepared.keys} keys`]),
      ...members.map(shownMember),
    ]
    for (const line of lines) await output.line(line)
  })
}

export async function compact(options: CommonOptions, output: Output): Promise<void> {
  await withTarget(options, false, output, async (db, { dir }) => {
    const { bytesBefore, bytesAfter } = await db.compact()
    if (options.json) await output.line(JSON.stringify({ dir, bytesBefore, bytesAfter }))
    else await output.line(`${bytesAfter} bytes, ${bytesBefore - bytesAfter} less than before`)
  })
}

/** A peer that was opened a moment ago has yet to take up its role; one that cannot (its cluster is away) is shown as it is. */
async function hasStarted(db: Database): Promise<void> {
  let unsubscribe = () => {}
  let timer: NodeJS.Timeout | undefined
  await new Promise<void>(resolve => {
    timer = setTimeout(resolve, startMsMax)
    unsubscribe = db.cluster.subscribe(({ leader }) => {
      if (leader !== undefined) resolve()
    })
  })
  clearTimeout(timer)
  unsubscribe()
}

function shownMember({ id, role, state, kind, leader, rttMs }: Member): string {
  const latency = rttMs === undefined ? '' : `, ${rttMs.toFixed(1)} ms`
  return `member     ${id}, ${kind}, ${leader ? 'leader' : role}, ${state}${latency}`
}

/** The value, or the error thrown. */
export function taken<T>(result: Result<T>): T {
  if (result.ok) return result.value
  throw result.error
}

const shownKey = (key: Key): string => keyToText(Array.isArray(key) ? (key as readonly KeyPart[]) : [key as KeyPart])
