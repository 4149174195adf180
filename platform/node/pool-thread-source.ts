/**
 * The code of a thread beside a database as one script. A script and not a file, so that it is found wherever the package's code was bundled to.
 *
 * This is the form for work on the sources: it bundles `pool-thread.ts` when it is asked. The build replaces this whole module by one that holds the
 * bundle as a string:
 *
 *   export const poolThreadSource = async () => "…"
 */
import { fileURLToPath } from 'node:url'

export async function poolThreadSource(): Promise<string> {
  const { build } = await import('esbuild')
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('./pool-thread.ts', import.meta.url))],
    bundle: true,
    write: false,
    format: 'cjs',
    platform: 'node',
    logLevel: 'silent',
  })
  return outputFiles[0]?.text ?? ''
}
