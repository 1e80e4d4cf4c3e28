// What reply-from in the bundle knows as undici: it asks whether a dispatcher is of one of its classes, which ours never is.
class Absent {
  constructor() {
    throw new Error('reply-from of the bundle sends nothing by undici (scripts/bundle/no-undici.cjs)')
  }
}

module.exports = {
  Agent: Absent,
  BalancedPool: Absent,
  Client: Absent,
  Dispatcher: Absent,
  Pool: Absent,
  ProxyAgent: Absent,
}
