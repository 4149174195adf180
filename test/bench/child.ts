/** The process that `storage.ts` starts: its task is its argument. */
import { runChild, type Task } from './storage-child.ts'

await runChild(JSON.parse(process.argv[2] ?? '') as Task)
