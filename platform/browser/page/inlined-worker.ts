/**
 * Starts the worker that ships with the package. This is the form for a development server (Vite), which finds the worker's module by
 * this very expression.
 *
 * The build replaces this whole module, because bundlers of applications must not see that expression in `dist`: there is no such file for
 * them. The built form has the worker's bundle (`platform/browser/worker/entry.ts`, one classic script) as a string, and
 *
 *   export function startInlinedWorker() {
 *     const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }))
 *     const worker = new Worker(url, { name: 'harmonydb' })
 *     worker.addEventListener('message', () => URL.revokeObjectURL(url), { once: true })
 *     return worker
 *   }
 *
 * It is imported dynamically, so that a page that brings its own worker does not load it.
 */
export function startInlinedWorker(): Worker {
  return new Worker(new URL('../worker/entry.ts', import.meta.url), { type: 'module', name: 'harmonydb' })
}
