import { createDatabase } from '../../src/database/database.ts'
import { databaseSuite } from './database-suite.ts'
import { MemoryCore } from './memory-core.ts'

databaseSuite('the database over a core in memory', async () => createDatabase(new MemoryCore()))
