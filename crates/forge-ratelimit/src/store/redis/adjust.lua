-- Changes the debt of one bucket. See `charge.lua` for what a bucket is.
-- KEYS: the bucket. ARGV: what to do, microseconds a unit, burst, weight, microseconds of a block.
-- Answer: as of one charge.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local what = ARGV[1]
local interval, burst, weight = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local capacity = interval * burst

local value = redis.call('GET', KEYS[1])
local blocked = value and string.sub(value, 1, 1) == 'b'
local tat = tonumber(blocked and string.sub(value, 2) or value or 0)
blocked = blocked and tat > now
local debt = blocked and 0 or math.min(math.max(tat - now, 0), capacity)

if what == 'reset' then
  redis.call('DEL', KEYS[1])
  blocked, debt = false, 0
elseif what == 'block' then
  local length = tonumber(ARGV[5])
  blocked, tat = length > 0, now + length
  if blocked then
    redis.call('SET', KEYS[1], string.format('b%.0f', tat), 'PX', math.ceil(length / 1000))
  else
    redis.call('DEL', KEYS[1])
    debt = 0
  end
elseif what ~= 'peek' and not blocked then
  local by = interval * weight
  if what == 'refund' then
    debt = math.max(debt - by, 0)
  else
    debt = math.min(debt + by, capacity)
  end
  if debt > 0 then
    redis.call('SET', KEYS[1], string.format('%.0f', now + debt), 'PX', math.ceil(debt / 1000))
  else
    redis.call('DEL', KEYS[1])
  end
end

if blocked then
  return { now, 0, 0, tat - now, 1 }
end
local after = debt + interval * weight
local left = math.floor((capacity - debt) / interval)
if after > capacity then
  return { now, 0, left, after - capacity, 0 }
end
local wait = interval - (capacity - debt) % interval
if left >= burst then wait = 0 end
return { now, 1, left, wait, 0 }
