// Loaded before the proxy: at SIGWINCH (which nobody else listens for) it writes down what Node holds open and how large the heap is after a collection.
import { renameSync, writeFileSync } from 'node:fs'

process.on('SIGWINCH', () => {
  globalThis.gc?.()
  const handles = {}
  for (const kind of process.getActiveResourcesInfo()) handles[kind] = (handles[kind] ?? 0) + 1
  const file = process.env.BENCH_HANDLES
  writeFileSync(`${file}.new`, JSON.stringify({ handles, heapMb: process.memoryUsage().heapUsed / 2 ** 20 }))
  renameSync(`${file}.new`, file)
})
