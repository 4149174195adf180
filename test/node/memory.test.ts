/**
 * The memory of a process whose data are eight times its cache, as the system sees it: its largest resident size stays within that of the
 * same process with an empty database, plus the cache, plus a slack. The slack holds the consensus log's cache (8 MiB), what is written
 * and read at the moment, and garbage that was not collected yet; it is less than the data.
 */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Bundle, bundle, temporaryFolder, Watched } from './cli-kit.ts'

const mebibyte = 1024 * 1024
const cacheBytes = 10 * mebibyte
const dataBytes = 8 * cacheBytes
const slackBytes = 72 * mebibyte
const valueBytes = 4000

let built: Bundle

beforeAll(async () => {
  built = await bundle()
})

afterAll(() => built.remove())

/** Of a child with so many keys, after its work. */
async function peakBytes(keys: number): Promise<{ readonly bytes: number; readonly stored: number }> {
  const folder = temporaryFolder()
  const child = new Watched(built.childMemory, [folder.in('db'), cacheBytes, keys, valueBytes, 2000].map(String))
  try {
    const done = await child.line(line => (line.startsWith('done ') ? line.slice(5) : undefined), 'done', 100_000)
    const status = readFileSync(`/proc/${child.process.pid}/status`, 'utf8')
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]
    return { bytes: Number(peak) * 1024, stored: JSON.parse(done).storage.bytes }
  } finally {
    child.process.kill('SIGKILL')
    await child.ended()
    folder.remove()
  }
}

test.skipIf(process.platform !== 'linux')(
  'data of eight times cacheBytes take no more memory than the cache and a slack of 72 MiB',
  async () => {
    const empty = await peakBytes(0)
    const full = await peakBytes(Math.ceil(dataBytes / valueBytes))
    expect(full.stored).toBeGreaterThanOrEqual(dataBytes)
    expect(empty.bytes).toBeGreaterThan(20 * mebibyte)
    const more = (full.bytes - empty.bytes) / mebibyte
    expect(more).toBeLessThan((cacheBytes + slackBytes) / mebibyte)
  },
  200_000,
)
