/**
 * The demo: `npx vite demo` while developing, `npx vite build demo` into dist/demo. The page takes `harmonydb` from the source tree, so what
 * it shows is what stands here; its own origin is the only one it ever loads from.
 */
import { defineConfig, type Plugin } from 'vite'

/** Served pages say themselves that nothing comes from elsewhere; peers and signalling may be on other hosts. */
const policy = [
  "default-src 'self'",
  "connect-src 'self' ws: wss:",
  "style-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

const contentSecurityPolicy: Plugin = {
  name: 'content-security-policy',
  apply: 'build',
  transformIndexHtml: () => [
    { tag: 'meta', attrs: { 'http-equiv': 'Content-Security-Policy', content: policy }, injectTo: 'head-prepend' },
  ],
}

const here = (path: string): string => decodeURIComponent(new URL(path, import.meta.url).pathname)

export default defineConfig({
  root: here('.'),
  base: './',
  resolve: { alias: { harmonydb: here('../platform/browser/page/entry.ts') } },
  plugins: [contentSecurityPolicy],
  worker: { format: 'es' },
  server: { host: '127.0.0.1', fs: { allow: [here('..')] } },
  build: {
    outDir: here('../dist/demo'),
    emptyOutDir: true,
    target: 'es2022',
    sourcemap: true,
    // How long plugins took is nothing for somebody who starts the demo.
    rolldownOptions: { checks: { pluginTimings: false } },
  },
})
