/**
 * What older states cost on the disk while they are held, and afterwards: one state as much as it is large, however often it is written over; several of them within a
 * bound. `DEEP=1` writes a million versions instead of twenty thousand.
 */
import fs from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Database } from '../../src/index.ts'
import { type TemporaryFolder, temporaryFolder } from './cli-kit.ts'
import { checkStore, openLocal, unsyncedFiles } from './local-kit.ts'

const deep = process.env.DEEP === '1'
const versions = deep ? 1_000_000 : 20_000
const others = 2000
const callers = 256
const megabyte = 1024 * 1024
let folder: TemporaryFolder
beforeAll(() => {
  folder = temporaryFolder()
})
afterAll(() => folder.remove())

const bytesOf = (dir: string): number =>
  fs.readdirSync(dir).reduce((sum, name) => sum + fs.statSync(join(dir, name)).size, 0)

/** Compresses to about half. */
const written = (n: number): string =>
  Array.from({ length: 20 }, (_, i) => `${Math.imul(n * 20 + i, 0x9e3779b1) >>> 0}....`).join('')

async function fill(db: Database): Promise<void> {
  const ops = Array.from({ length: others }, (_, i) => ({ type: 'put', key: ['other', i], value: written(i) }) as const)
  await db.batch(ops)
  await db.put('hot', written(0))
}

async function overwrite(db: Database): Promise<void> {
  let next = 1
  const caller = async (): Promise<void> => {
    while (next <= versions) await db.put('hot', written(next++))
  }
  await Promise.all(Array.from({ length: callers }, caller))
}

test(`a key that is written over ${versions} times stays readable in a snapshot, and costs nothing afterwards`, {
  timeout: deep ? 1_200_000 : 60_000,
}, async () => {
  const options = { files: unsyncedFiles, checkpointBytes: megabyte }
  const once = await openLocal(folder.in('once'), options)
  await fill(once)
  await once.compact()
  const { usedBytes, logBytes } = once.status().storage
  await once.close()
  const closedBytes = bytesOf(folder.in('once'))

  const dir = folder.in('often')
  const db = await openLocal(dir, options)
  await fill(db)
  const snapshot = await db.snapshot()
  const before = await snapshot.scan().toArray()
  await overwrite(db)
  const held = db.status()
  expect(held.snapshots).toMatchObject({ held: 1, givenUp: 0 })
  // The one leaf, and the way to it.
  expect(held.snapshots.bytes).toBeGreaterThan(0)
  expect(held.snapshots.bytes).toBeLessThanOrEqual(6 * held.storage.pageBytes)
  const most = bytesOf(dir)
  expect(await snapshot.get('hot')).toBe(written(0))
  expect(await snapshot.scan().toArray()).toEqual(before)
  await snapshot.close()
  expect(db.status().snapshots).toEqual({ held: 0, bytes: 0, givenUp: 0 })
  await db.compact()
  const after = db.status().storage
  expect(after.usedBytes).toBeLessThanOrEqual(2 * usedBytes)
  expect(after.logBytes).toBeLessThan(4 * megabyte)
  expect((await db.getEntry('hot'))?.value).toBe(written(versions))
  await db.close()
  const closedAfter = bytesOf(dir)
  expect(closedAfter).toBeLessThanOrEqual(2 * closedBytes)
  await checkStore(dir)
  if (!deep) return
  console.log(`one version: ${usedBytes} bytes of pages, ${logBytes} of log, ${closedBytes} closed`)
  console.log(`${versions} versions: ${most} on the disk with the snapshot (${held.snapshots.bytes} for it alone), `)
  console.log(`  ${after.usedBytes} of pages and ${after.logBytes} of log after it, ${closedAfter} closed`)
})

test('one state costs as much as it is large, at most; several give way when they cost too much', async () => {
  const dir = folder.in('many')
  const options = { files: unsyncedFiles, checkpointBytes: megabyte, heldBytesMin: 2 * megabyte }
  const db = await openLocal(dir, options)
  const rewrite = async (round: number): Promise<void> => {
    const keys = Array.from({ length: others }, (_, i) => i)
    await db.batch(keys.map(i => ({ type: 'put', key: ['other', i], value: written(i + round) }) as const))
  }
  await rewrite(0)
  const held = [await db.snapshot()]
  for (let round = 1; round <= 5; round++) await rewrite(round)
  const one = db.status()
  // Pages are two thirds full, about, and a few branches lead to them.
  expect(one.snapshots.bytes).toBeGreaterThan(one.storage.bytes / 2)
  expect(one.snapshots.bytes).toBeLessThan(3 * one.storage.bytes)
  for (let round = 6; round <= 30; round++) {
    held.push(await db.snapshot())
    await rewrite(round)
    const boundBytes = Math.max(2 * megabyte, 4 * db.status().storage.bytes)
    await expect.poll(() => db.status().snapshots.bytes, { interval: 2 }).toBeLessThanOrEqual(boundBytes)
  }
  const { snapshots } = db.status()
  expect(snapshots.givenUp).toBeGreaterThan(5)
  expect(snapshots.held + snapshots.givenUp).toBe(held.length)
  await expect(held[0]!.get(['other', 1])).rejects.toMatchObject({ code: 'SNAPSHOT_TOO_OLD' })
  expect(await held.at(-1)!.get(['other', 1])).toBe(written(1 + 29))
  for (const one of held) await one.close()
  expect(db.status().snapshots).toMatchObject({ held: 0, bytes: 0 })
  await db.close()
  await checkStore(dir)
})

test('the status counts transactions of this handle: active, committed, aborted, tried again', async () => {
  const db = await openLocal(folder.in('counts'), { files: unsyncedFiles })
  const counts = () => db.status().transactions
  expect(counts()).toEqual({ active: 0, committed: 0, aborted: 0, retried: 0 })
  const open = await db.begin()
  await open.get('a')
  expect(counts()).toMatchObject({ active: 1 })
  expect(db.status().snapshots.held).toBe(1)
  await open.rollback()
  expect(counts()).toEqual({ active: 0, committed: 0, aborted: 1, retried: 0 })
  let attempts = 0
  await db.transaction(async tx => {
    await tx.get('a')
    if (attempts++ === 0) await db.put('a', 1)
    tx.put('b', 1)
  })
  expect(counts()).toEqual({ active: 0, committed: 1, aborted: 2, retried: 1 })
  await expect(db.transaction(() => Promise.reject(new Error('mine')))).rejects.toThrow('mine')
  expect(counts()).toEqual({ active: 0, committed: 1, aborted: 3, retried: 1 })
  expect(db.status().snapshots.held).toBe(0)
  await db.close()
})
