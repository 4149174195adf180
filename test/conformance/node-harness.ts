/** Node's file system under the conformance suites: as it is, and over a cache that a crash loses. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nodeClock, nodeRandom } from '../../platform/node/host.ts'
import { openDirectory } from '../../platform/node/storage/directory.ts'
import { type Files, systemFiles } from '../../platform/node/storage/files.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { Directory, Result } from '../../src/platform.ts'
import type { ClockHarness } from './clock-suite.ts'
import { CrashFiles } from './crash-files.ts'
import { answer, pollUntil } from './rule.ts'
import { type StorageHarness, success } from './storage-harness.ts'

const opening = (path: string, files: Files): Promise<Result<Directory>> =>
  answer({ until: pollUntil, dispose: async () => {} }, 'open directory', done => openDirectory(path, done, files))

const closing = (directory: Directory): Promise<void> => new Promise(done => directory.close(() => done()))

export async function nodeStorage(): Promise<StorageHarness> {
  const path = await mkdtemp(join(tmpdir(), 'harmony-conformance-'))
  const opened: Directory[] = []
  const open = async () => {
    const directory = await success(opening(path, systemFiles))
    opened.push(directory)
    return directory
  }
  return {
    open,
    openAgain: () => opening(path, systemFiles),
    async reopen(directory) {
      await closing(directory)
      return open()
    },
    until: pollUntil,
    async dispose() {
      for (const directory of opened) await closing(directory)
      await rm(path, { recursive: true })
    },
  }
}

/** @param seed Says what each crash leaves. */
export async function nodeStorageThatCrashes(seed: number): Promise<StorageHarness> {
  const path = await mkdtemp(join(tmpdir(), 'harmony-conformance-'))
  const random = seededRandom(`crash files ${seed}`)
  let files = new CrashFiles(random)
  let current: Directory | undefined
  const open = async () => {
    files = new CrashFiles(random)
    current = await success(opening(path, files))
    return current
  }
  /** The dead life's lock goes with its descriptor; nothing else of it reaches the disk any more. */
  const afterDeath = async (directory: Directory) => {
    await closing(directory)
    return open()
  }
  return {
    crashRounds: 8,
    open,
    openAgain: () => opening(path, files),
    async reopen(directory) {
      await closing(directory)
      return open()
    },
    async crash(directory) {
      files.crash()
      return afterDeath(directory)
    },
    async kill(directory) {
      files.kill()
      return afterDeath(directory)
    },
    failNextSync: () => {
      files.syncFailures++
    },
    fillUp: () => {
      files.full = true
    },
    until: pollUntil,
    async dispose() {
      if (current !== undefined) await closing(current)
      await rm(path, { recursive: true })
    },
  }
}

export async function nodeClocks(): Promise<ClockHarness> {
  return {
    clock: nodeClock,
    random: nodeRandom,
    asHostWork: run => void setImmediate(run),
    until: pollUntil,
    dispose: async () => {},
  }
}
