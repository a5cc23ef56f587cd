-- Decides on the charges of one request, all or nothing.
-- KEYS: one bucket a charge. ARGV: the time after which nobody waits for the answer any more (0: never),
-- then of each charge: microseconds a unit, burst, weight, 1 for a shadow.
-- A bucket is its theoretical arrival time in microseconds, or `b` and the end of a block.
-- Answer: the time, then of each charge: allowed, units left, microseconds to wait, blocked.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local expires = tonumber(ARGV[1])
if expires > 0 and now > expires then
  return { now }
end

local outcomes, pass = {}, true
for i = 1, #KEYS do
  local at = (i - 1) * 4 + 1
  local interval, burst, weight = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local shadow = ARGV[at + 4] == '1'
  local capacity = interval * burst
  local value = redis.call('GET', KEYS[i])
  local blocked = value and string.sub(value, 1, 1) == 'b'
  local tat = tonumber(blocked and string.sub(value, 2) or value or 0)
  if blocked and tat > now then
    outcomes[i] = { fits = false, left = 0, wait = tat - now, blocked = 1 }
  else
    if blocked then tat = 0 end
    -- A clock that was ahead for a while locks nobody out: no debt is larger than the bucket.
    local debt = math.min(math.max(tat - now, 0), capacity)
    local after = debt + interval * weight
    if after <= capacity then
      local free = capacity - after
      outcomes[i] = {
        fits = true, after = after, blocked = 0, weight = weight, burst = burst,
        left = math.floor(free / interval), wait = interval - free % interval,
      }
    else
      outcomes[i] = {
        fits = false, left = math.floor((capacity - debt) / interval),
        wait = after - capacity, blocked = 0,
      }
      -- A debt from a larger bucket is no more than the whole of this one from the first look on:
      -- who then waits as told is not refused again.
      if tat - now > capacity then
        redis.call('SET', KEYS[i], string.format('%.0f', now + debt), 'PX', math.ceil(debt / 1000))
      end
    end
  end
  pass = pass and (shadow or outcomes[i].fits)
end

local answer = { now }
for i = 1, #KEYS do
  local of = outcomes[i]
  if of.fits and pass then
    redis.call('SET', KEYS[i], string.format('%.0f', now + of.after), 'PX', math.ceil(of.after / 1000))
  elseif of.fits then
    of.left = of.left + of.weight
    if of.left >= of.burst then of.wait = 0 end
  end
  answer[#answer + 1] = of.fits and 1 or 0
  answer[#answer + 1] = of.left
  answer[#answer + 1] = of.wait
  answer[#answer + 1] = of.blocked
end
return answer
