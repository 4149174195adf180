/** The log on disk within its bound, over writes without end and over closing. */
import fs from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type TemporaryFolder, temporaryFolder } from './cli-kit.ts'
import { checkStore, openLocal, unsyncedFiles } from './local-kit.ts'

const megabyte = 1024 * 1024
let folder: TemporaryFolder
beforeAll(() => {
  folder = temporaryFolder()
})
afterAll(() => folder.remove())

test('forty times as many writes as a checkpoint waits for take some checkpoints of log, and closing leaves one file', async () => {
  const dir = folder.in('db')
  const onDisk = (): { files: number; bytes: number } => {
    const names = fs.readdirSync(dir).filter(name => name.startsWith('log.'))
    return { files: names.length, bytes: names.reduce((sum, name) => sum + fs.statSync(join(dir, name)).size, 0) }
  }
  const options = { files: unsyncedFiles, checkpointBytes: megabyte }
  const db = await openLocal(dir, options)
  let most = 0
  for (let n = 0; n < 40; n++) {
    const ops = Array.from({ length: 100 }, (_, i) => ({
      type: 'put' as const,
      key: ['k', i],
      value: `${n} `.repeat(5000),
    }))
    await db.batch(ops)
    most = Math.max(most, onDisk().bytes)
  }
  // One that is being filled, one that is prepared, and what the checkpoint that is under way still needs.
  expect(most).toBeLessThan(24 * megabyte)
  expect(db.status().log.firstIndex).toBeGreaterThan(20)
  expect(db.status().storage.logBytes).toBeLessThan(16 * megabyte)
  await db.close()
  expect(onDisk().files).toBe(1)
  expect((await checkStore(dir)).log.firstIndex).toBeGreaterThan(20)
  const again = await openLocal(dir, options)
  expect(await again.get(['k', 99])).toBe('39 '.repeat(5000))
  await again.close()
})

test('what was written before a pause need not be applied again by who starts after a crash', {
  timeout: 30_000,
}, async () => {
  const dir = folder.in('idle')
  const db = await openLocal(dir, { files: unsyncedFiles })
  for (let n = 0; n < 20; n++) await db.put(['k', n], 'x'.repeat(100_000))
  expect(db.status().log.firstIndex).toBe(1)
  await expect.poll(() => db.status().log.firstIndex, { timeout: 20_000 }).toBeGreaterThan(20)
  await db.close()
})
