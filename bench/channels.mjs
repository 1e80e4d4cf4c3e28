// Loaded before the proxy: counts the API calls that Fastify and undici report on Node's diagnostics channels.
import { subscribe } from 'node:diagnostics_channel'
import { writeFileSync } from 'node:fs'

const counts = { fastify: 0, undici: 0 }
const isCall = (path) => path.startsWith('/rest/')
subscribe('tracing:fastify.request.handler:start', ({ request }) => {
  if (isCall(request.url)) counts.fastify++
})
subscribe('undici:request:create', ({ request }) => {
  if (isCall(request.path)) counts.undici++
})
process.on('exit', () => writeFileSync(process.env.BENCH_CHANNELS, JSON.stringify(counts)))
