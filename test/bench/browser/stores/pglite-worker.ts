/** The worker of PGlite for a page, as its documentation has it. */
import { loadPackage } from './engine.ts'
import { type Pglite, type PglitePackage, pglitePath, pgliteWorkerPath } from './pglite.ts'

interface Package {
  worker(given: { init(options: { readonly dataDir: string }): Promise<Pglite> }): unknown
}

const [{ PGlite }, { worker }] = await Promise.all([
  loadPackage<PglitePackage>(pglitePath),
  loadPackage<Package>(pgliteWorkerPath),
])
worker({ init: ({ dataDir }) => PGlite.create({ dataDir, relaxedDurability: false }) })
