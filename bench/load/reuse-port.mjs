// Loaded before the proxy: lets several processes listen on one port, between which the kernel shares the connections out.
import { Server } from 'node:net'

const listen = Server.prototype.listen
Server.prototype.listen = function (options, ...rest) {
  const shared = typeof options === 'object' && 'port' in options ? { ...options, reusePort: true } : options
  return listen.call(this, shared, ...rest)
}
