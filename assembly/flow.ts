/**
 * The flow clock's inner loop: transfers that share resources by max-min fair rates, by progressive filling.
 *
 *     rate       the bottleneck is the resource with the least  (capacity left) / (weight of its transfers without a rate);
 *                its transfers get that rate, which is taken from every resource they use; again, until all have one.
 *                By itself a transfer reaches the least capacity / weight on its path, its limit
 *     transfer   bytes / rate from its start to its end, `latency` later it has arrived
 *     stage      what an endpoint sends and receives in one step: it ends when all is sent and has arrived, then the
 *                endpoint's next stage starts
 *
 * Converged and work-conserving: at every start and end the rates of all transfers that are connected by tight resources
 * are found anew, the others keep theirs. A resource is tight if the limits of its transfers together exceed its capacity:
 * the others can't be a bottleneck, so a ring of ranks whose memories have room to spare is as many independent transfers. Events of one instant (to 1 part in 10^12) are one batch.
 * The data is columns in the imported memory; `table` holds their addresses in the order of the constants below, which
 * src/collectives/flow.ts fills. Leaves out: checks. A transfer has at least one resource, a weight and capacity are > 0.
 * The globals below are set at the start of a call: nothing is kept between calls.
 */

// Column numbers. Kept in step with COLUMNS in src/collectives/flow.ts.
// Of a transfer: [transfers].
const PATH: u32 = 0;
const REMAINING: u32 = 1;
const RATE: u32 = 2;
const SINCE: u32 = 3;
const START: u32 = 4;
const SEND_STAGE: u32 = 5;
const RECEIVE_STAGE: u32 = 6;
const FIRST_ENTRY: u32 = 7;
const MARK: u32 = 8;
// Of a path: [paths + 1], and of the resources on all paths, one after another.
const PATH_START: u32 = 9;
const PATH_RESOURCE: u32 = 10;
const PATH_WEIGHT: u32 = 11;
/** Of a transfer again. */
const LATENCY: u32 = 12;
// Of a stage: [stages + 1], and the transfers that each sends.
const STAGE_OPEN: u32 = 13;
const STAGE_SENDS: u32 = 14;
const SENDS: u32 = 15;
/** 0 not entered, 1 entered. */
const ENTERED: u32 = 16;
// Of an endpoint: [endpoints + 1] first stages, [endpoints] ends; STAGE_OWNER is of a stage.
const ENDPOINT_STAGES: u32 = 17;
const STAGE_OWNER: u32 = 18;
const ENDED: u32 = 19;
// Of a resource: [resources].
const CAPACITY: u32 = 20;
const HEAD: u32 = 21;
const LEFT: u32 = 22;
const WEIGHT: u32 = 23;
const OPEN: u32 = 24;
const SEEN: u32 = 25;
const PEAK: u32 = 26;
const GROUP: u32 = 27;
// The lists of the transfers on each resource: an entry for each transfer and resource of its path.
const NEXT: u32 = 28;
const PREVIOUS: u32 = 29;
const ENTRY_OWNER: u32 = 30;
// Events: ends (transfer), arrivals (transfers + transfer), first stages (2 transfers + endpoint).
const KEY: u32 = 31;
const HEAP: u32 = 32;
const PLACE: u32 = 33;
/** Transfers whose rate is to be found, [transfers]. */
const AFFECTED: u32 = 34;
/** Limit of a path, and the limits of the transfers on a resource together. */
const LIMIT: u32 = 35;
const DEMAND: u32 = 36;
/** The epoch in which a transfer left the resource while it was tight. */
const LOOSENED: u32 = 37;

const NEVER: f64 = Infinity;

let columns: usize = 0;
let heapSize: u32 = 0;
let epoch: u32 = 0;
let affected: u32 = 0;
let group: u32 = 0;

function at(column: u32, i: u32, shift: u32): usize {
  return usize(load<u32>(columns + (column << 2)) + (i << shift));
}
function int(column: u32, i: u32): u32 {
  return load<u32>(at(column, i, 2));
}
function setInt(column: u32, i: u32, value: u32): void {
  store<u32>(at(column, i, 2), value);
}
function real(column: u32, i: u32): f64 {
  return load<f64>(at(column, i, 3));
}
function setReal(column: u32, i: u32, value: f64): void {
  store<f64>(at(column, i, 3), value);
}

// ---- events: a binary heap by time, in which an event can be moved ----

function put(place: u32, event: u32): void {
  setInt(HEAP, place, event);
  setInt(PLACE, event, place + 1);
}

function rise(place: u32, event: u32): void {
  const key = real(KEY, event);
  while (place > 0) {
    const parent = (place - 1) >> 1;
    const other = int(HEAP, parent);
    if (real(KEY, other) <= key) break;
    put(place, other);
    place = parent;
  }
  put(place, event);
}

function sink(place: u32, event: u32): void {
  const key = real(KEY, event);
  for (;;) {
    let child: u32 = 2 * place + 1;
    if (child >= heapSize) break;
    if (child + 1 < heapSize && real(KEY, int(HEAP, child + 1)) < real(KEY, int(HEAP, child))) child++;
    const other = int(HEAP, child);
    if (real(KEY, other) >= key) break;
    put(place, other);
    place = child;
  }
  put(place, event);
}

function schedule(event: u32, time: f64): void {
  const place = int(PLACE, event);
  if (place == 0) {
    setReal(KEY, event, time);
    heapSize++;
    rise(heapSize - 1, event);
    return;
  }
  const before = real(KEY, event);
  setReal(KEY, event, time);
  if (time < before) rise(place - 1, event);
  else sink(place - 1, event);
}

function nextEvent(): u32 {
  const event = int(HEAP, 0);
  setInt(PLACE, event, 0);
  heapSize--;
  if (heapSize > 0) sink(0, int(HEAP, heapSize));
  return event;
}

// ---- the transfers on each resource ----

function touch(resource: u32): void {
  if (int(SEEN, resource) == epoch) return;
  setInt(SEEN, resource, epoch);
  setInt(GROUP, group, resource);
  group++;
}

/** With room for rounding: a resource that its transfers fill exactly is not tight. */
function isTight(resource: u32): bool {
  return real(DEMAND, resource) > real(CAPACITY, resource) * (1 + 1e-9);
}

function affect(transfer: u32): void {
  if (int(MARK, transfer) == epoch) return;
  setInt(MARK, transfer, epoch);
  setInt(AFFECTED, affected, transfer);
  affected++;
}

function begin(transfer: u32, time: f64): void {
  const path = int(PATH, transfer);
  const limit = real(LIMIT, path);
  const first = int(PATH_START, path);
  const end = int(PATH_START, path + 1);
  let entry = int(FIRST_ENTRY, transfer);
  for (let i = first; i < end; i++, entry++) {
    const resource = int(PATH_RESOURCE, i);
    setReal(DEMAND, resource, real(DEMAND, resource) + limit * real(PATH_WEIGHT, i));
    const head = int(HEAD, resource);
    setInt(NEXT, entry, head);
    setInt(PREVIOUS, entry, 0);
    if (head != 0) setInt(PREVIOUS, head - 1, entry + 1);
    setInt(HEAD, resource, entry + 1);
    touch(resource);
  }
  affect(transfer);
  setReal(START, transfer, time);
  setReal(SINCE, transfer, time);
  setReal(RATE, transfer, 0);
}

function end(transfer: u32): void {
  const path = int(PATH, transfer);
  const limit = real(LIMIT, path);
  const last = int(PATH_START, path + 1);
  let entry = int(FIRST_ENTRY, transfer);
  for (let i = int(PATH_START, path); i < last; i++, entry++) {
    const resource = int(PATH_RESOURCE, i);
    // Whoever shared a tight resource may go faster now, even if it is not tight any more.
    if (isTight(resource)) setInt(LOOSENED, resource, epoch);
    setReal(DEMAND, resource, max(0, real(DEMAND, resource) - limit * real(PATH_WEIGHT, i)));
    const next = int(NEXT, entry);
    const previous = int(PREVIOUS, entry);
    if (previous != 0) setInt(NEXT, previous - 1, next);
    else setInt(HEAD, resource, next);
    if (next != 0) setInt(PREVIOUS, next - 1, previous);
    touch(resource);
  }
}

// ---- stages ----

/** Counts one sent or received transfer of a stage; the endpoint goes on when it was the last. */
function settle(stage: u32, time: f64): void {
  const open = int(STAGE_OPEN, stage) - 1;
  setInt(STAGE_OPEN, stage, open);
  if (open == 0 && int(ENTERED, stage) != 0) enter(stage + 1, int(STAGE_OWNER, stage), time);
}

function enter(stage: u32, endpoint: u32, time: f64): void {
  const last = int(ENDPOINT_STAGES, endpoint + 1);
  setReal(ENDED, endpoint, time);
  while (stage < last) {
    setInt(ENTERED, stage, 1);
    const sendsEnd = int(STAGE_SENDS, stage + 1);
    for (let i = int(STAGE_SENDS, stage); i < sendsEnd; i++) begin(int(SENDS, i), time);
    // What it waits for may have arrived before, from endpoints that are ahead.
    if (int(STAGE_OPEN, stage) != 0) return;
    stage++;
  }
}

// ---- rates ----

/** All transfers and tight resources that are connected to those that something has changed on. Keeps the tight ones. */
function connect(): void {
  // Resources come to the end of the group while it is gone through.
  for (let g: u32 = 0; g < group; g++) {
    const resource = int(GROUP, g);
    if (!isTight(resource) && int(LOOSENED, resource) != epoch) continue;
    for (let entry = int(HEAD, resource); entry != 0; entry = int(NEXT, entry - 1)) {
      const transfer = int(ENTRY_OWNER, entry - 1);
      if (int(MARK, transfer) == epoch) continue;
      affect(transfer);
      const path = int(PATH, transfer);
      const last = int(PATH_START, path + 1);
      for (let i = int(PATH_START, path); i < last; i++) touch(int(PATH_RESOURCE, i));
    }
  }
  let kept: u32 = 0;
  for (let g: u32 = 0; g < group; g++) {
    const resource = int(GROUP, g);
    setReal(LEFT, resource, real(CAPACITY, resource));
    setReal(WEIGHT, resource, 0);
    setInt(OPEN, resource, 0);
    if (isTight(resource)) {
      setInt(GROUP, kept, resource);
      kept++;
    } else setReal(PEAK, resource, max(real(PEAK, resource), real(DEMAND, resource) / real(CAPACITY, resource)));
  }
  group = kept;
  for (let a: u32 = 0; a < affected; a++) {
    const path = int(PATH, int(AFFECTED, a));
    const last = int(PATH_START, path + 1);
    for (let i = int(PATH_START, path); i < last; i++) {
      const resource = int(PATH_RESOURCE, i);
      setReal(WEIGHT, resource, real(WEIGHT, resource) + real(PATH_WEIGHT, i));
      setInt(OPEN, resource, int(OPEN, resource) + 1);
    }
  }
}

/** Gives `transfer` its rate, from `time` on, and takes it from the resources. */
function fix(transfer: u32, rate: f64, time: f64): void {
  setInt(MARK, transfer, 0);
  const path = int(PATH, transfer);
  const last = int(PATH_START, path + 1);
  for (let i = int(PATH_START, path); i < last; i++) {
    const resource = int(PATH_RESOURCE, i);
    const weight = real(PATH_WEIGHT, i);
    setReal(LEFT, resource, real(LEFT, resource) - weight * rate);
    setReal(WEIGHT, resource, real(WEIGHT, resource) - weight);
    setInt(OPEN, resource, int(OPEN, resource) - 1);
  }
  const before = real(RATE, transfer);
  // An end keeps its time to the last bit while the rate stays: no drift.
  if (rate == before) return;
  const remaining = max(0, real(REMAINING, transfer) - before * (time - real(SINCE, transfer)));
  setReal(REMAINING, transfer, remaining);
  setReal(SINCE, transfer, time);
  setReal(RATE, transfer, rate);
  schedule(transfer, time + remaining / rate);
}

function fill(time: f64): void {
  connect();
  let level: f64 = 0;
  while (affected > 0) {
    let least = NEVER;
    let kept: u32 = 0;
    for (let g: u32 = 0; g < group; g++) {
      const resource = int(GROUP, g);
      if (int(OPEN, resource) == 0) {
        notePeak(resource);
        continue;
      }
      setInt(GROUP, kept, resource);
      kept++;
      least = min(least, real(LEFT, resource) / real(WEIGHT, resource));
    }
    group = kept;
    for (let a: u32 = 0; a < affected; a++) least = min(least, real(LIMIT, int(PATH, int(AFFECTED, a))));
    // Rounding may leave a resource a hair below the level before.
    level = max(level, least);
    const limit = level * (1 + 1e-9);
    for (let g: u32 = 0; g < group; g++) {
      const resource = int(GROUP, g);
      if (int(OPEN, resource) == 0 || real(LEFT, resource) > limit * real(WEIGHT, resource)) continue;
      for (let entry = int(HEAD, resource); entry != 0; entry = int(NEXT, entry - 1)) {
        const transfer = int(ENTRY_OWNER, entry - 1);
        if (int(MARK, transfer) == epoch) fix(transfer, min(level, real(LIMIT, int(PATH, transfer))), time);
      }
    }
    let open: u32 = 0;
    for (let a: u32 = 0; a < affected; a++) {
      const transfer = int(AFFECTED, a);
      if (int(MARK, transfer) != epoch) continue;
      const own = real(LIMIT, int(PATH, transfer));
      if (own <= limit) {
        fix(transfer, own, time);
      } else {
        setInt(AFFECTED, open, transfer);
        open++;
      }
    }
    affected = open;
  }
  for (let g: u32 = 0; g < group; g++) notePeak(int(GROUP, g));
}

function notePeak(resource: u32): void {
  const capacity = real(CAPACITY, resource);
  setReal(PEAK, resource, max(real(PEAK, resource), (capacity - real(LEFT, resource)) / capacity));
}

/** Runs all transfers; the first stages of the `endpoints` are events already. Returns the last end, or -1 if some never do. */
export function runFlow(table: usize, count: u32, endpoints: u32, pending: u32): f64 {
  columns = table;
  heapSize = 0;
  epoch = 0;
  for (let e: u32 = 0; e < endpoints; e++) schedule(2 * count + e, real(KEY, 2 * count + e));
  let last: f64 = 0;
  while (heapSize > 0) {
    const time = real(KEY, int(HEAP, 0));
    const limit = time * (1 + 1e-12);
    epoch++;
    group = 0;
    affected = 0;
    while (heapSize > 0 && real(KEY, int(HEAP, 0)) <= limit) {
      const event = nextEvent();
      if (event < count) {
        end(event);
        settle(int(SEND_STAGE, event), time);
        schedule(count + event, time + real(LATENCY, event));
        pending--;
      } else if (event < 2 * count) {
        settle(int(RECEIVE_STAGE, event - count), time);
      } else {
        const endpoint = event - 2 * count;
        enter(int(ENDPOINT_STAGES, endpoint), endpoint, time);
      }
    }
    last = time;
    if (group > 0) fill(time);
  }
  return pending == 0 ? last : -1;
}
