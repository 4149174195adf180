/** Runs the rules of storage and clock in a dedicated worker. */
import { runAll, type StorageKind } from './conformance-harness.ts'

addEventListener('message', ({ data }) => {
  runAll(data as StorageKind).then(
    outcomes => postMessage({ outcomes }),
    error => postMessage({ error: String(error) }),
  )
})
