// What the bundle knows as undici: the parts that are used here and by reply-from. The whole of it brings fetch, WebSocket,
// caches and mocks besides, which cost 12 MB and 40 ms at every start.
const Agent = require('undici/lib/dispatcher/agent.js')
const Client = require('undici/lib/dispatcher/client.js')
const Dispatcher = require('undici/lib/dispatcher/dispatcher.js')
const Pool = require('undici/lib/dispatcher/pool.js')

Dispatcher.prototype.request = require('undici/lib/api/api-request.js')

/** reply-from asks whether a dispatcher is one; ours is never. */
class Absent {
  constructor() {
    throw new Error('this part of undici is not in the bundle (scripts/bundle/undici.cjs)')
  }
}

module.exports = {
  Agent,
  Client,
  Dispatcher,
  Pool,
  buildConnector: require('undici/lib/core/connect.js'),
  errors: require('undici/lib/core/errors.js'),
  BalancedPool: Absent,
  ProxyAgent: Absent,
}
