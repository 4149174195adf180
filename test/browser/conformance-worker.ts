/** Runs the rules of storage and clock in a dedicated worker. */
import { runAll } from './conformance-harness.ts'

runAll().then(
  outcomes => postMessage({ outcomes }),
  error => postMessage({ error: String(error) }),
)
