/** The directory in memory under the conformance suites. */
import { createMemoryDirectory } from '../../src/storage/memory-directory.ts'
import { pollUntil } from './rule.ts'
import type { StorageHarness } from './storage-harness.ts'

export async function memoryStorage(): Promise<StorageHarness> {
  return { open: async () => createMemoryDirectory(), until: pollUntil, dispose: async () => {} }
}
