-- Adapts requests of HTTP clients to the transcoder, and responses to HTTP clients.
-- gRPC requests and responses pass unchanged. docs/gateway.md lists every header.
-- A reference from handle:headers() is invalid after a wait, so each use fetches it again.
-- `USES_TLS` and `USES_CORS` above are generated from the settings.

local INTERNAL = {
  "grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding",
  "grpc-accept-encoding", "x-http-code", "x-envoy-upstream-healthchecked-cluster",
}

local function is_grpc(headers)
  return (headers:get("content-type") or ""):sub(1, 16) == "application/grpc"
end

local function remove_internal(headers)
  for _, name in ipairs(INTERNAL) do headers:remove(name) end
end

-- gRPC fails a call with a header name that HTTP allows and gRPC does not, such as `x!`.
local function remove_illegal(headers)
  local illegal = {}
  for name in pairs(headers) do
    if name:find("[^%w:._-]") then illegal[#illegal + 1] = name end
  end
  for _, name in ipairs(illegal) do headers:remove(name) end
end

-- The transcoder matches verbs such as `:cancel` by a plain colon; some clients encode it.
local function decode_verb(path)
  return (path:gsub("^([^?]*)%%3[Aa](%a+)%f[?%z]", "%1:%2"))
end

-- The transcoder accepts an enum's full names only; `view=FULL` is the short form.
local function expand_view(path)
  return (path:gsub("([?&]view=)(%a+)%f[&%z]", function(parameter, view)
    return parameter .. "TOKEN_VIEW_" .. view:upper()
  end))
end

local TUS_VERSION = "1.0.0"

local function is_tus(path)
  return path:match("^/uploads%f[/?%z]") ~= nil
end

-- tus lets clients that can only send POST name the real method in a header.
local OVERRIDES = { HEAD = true, PATCH = true, DELETE = true }

local function override_method(headers)
  local method = headers:get("x-http-method-override")
  if headers:get(":method") == "POST" and OVERRIDES[method] then
    headers:replace(":method", method)
  end
end

-- A client's id that could confuse logs is replaced with a random UUID.
local function sanitize_request_id(headers)
  local id = headers:get("x-request-id") or ""
  if id:match("^[%w%-]+$") and #id <= 64 then return end
  local uuid = ("xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx"):gsub("x", function()
    return ("%x"):format(math.random(0, 15))
  end)
  headers:replace("x-request-id", uuid)
end

-- The path prefix, such as `/api`, that a proxy in front removes from the path.
local function forwarded_prefix(headers)
  local prefix = headers:get("x-forwarded-prefix") or ""
  return prefix:match("^/[%w%-_.~/]*[%w%-_.~]$") and not prefix:find("//", 1, true) and prefix
end

-- The id of an event that ends a watch. An EventSource reconnects after the end and sends it.
local LAST_EVENT = "end"

local function is_after_last_event(headers)
  return headers:get("last-event-id") == LAST_EVENT
    and headers:get(":path"):match("^/tokens/analysis%-progress/") ~= nil
end

-- HEAD is GET without its body; tus defines its own.
local function convert_head(handle, path)
  if handle:headers():get(":method") ~= "HEAD" or is_tus(path) then return end
  if path:match("^/tokens/analysis%-progress/") then
    -- A stream would not end.
    handle:streamInfo():dynamicMetadata():set("sori", "content_type", "text/event-stream")
    handle:respond({ [":status"] = "200" }, "")
    return true
  end
  if path:match("^/healthz%f[?%z]") then return end
  handle:headers():replace(":method", "GET")
  handle:streamInfo():dynamicMetadata():set("sori", "is_head", true)
end

-- The first field of a gRPC message, whose 5 bytes of frame and 2 of field precede the text.
local function first_text(message)
  if #message < 7 or message:byte(6) ~= 0x0A then return "" end
  return message:sub(8, 7 + message:byte(7))
end

-- Each service knows its own health only, so the name that a call asks for selects the service.
local function name_health_service(handle)
  local path = handle:headers():get(":path") or ""
  handle:headers():remove("x-health-service")
  if not path:match("^/grpc%.health%.v1%.Health/") then return end
  local body = handle:body()
  local name = body and first_text(body:getBytes(0, math.min(body:length(), 256))) or ""
  if name:match("^[%w._]+$") then handle:headers():replace("x-health-service", name) end
end

function envoy_on_request(handle)
  sanitize_request_id(handle:headers())
  if is_grpc(handle:headers()) then
    name_health_service(handle)
    -- gRPC-Web and Connect became gRPC after their route was chosen.
    handle:clearRouteCache()
    return
  end
  if is_after_last_event(handle:headers()) then
    -- 204 tells an EventSource not to connect again.
    handle:respond({ [":status"] = "204" }, "")
    return
  end
  -- These headers belong to gRPC; the transcoder adds its own.
  remove_internal(handle:headers())
  remove_illegal(handle:headers())
  local path = handle:headers():get(":path") or ""
  local prefix = forwarded_prefix(handle:headers())
  if prefix then handle:streamInfo():dynamicMetadata():set("sori", "prefix", prefix) end
  if convert_head(handle, path) then return end
  local etags = handle:headers():get("if-none-match")
  if etags and handle:headers():get(":method") == "GET" then
    handle:streamInfo():dynamicMetadata():set("sori", "etags", etags)
  end
  if is_tus(path) then
    override_method(handle:headers())
    local method = handle:headers():get(":method")
    handle:streamInfo():dynamicMetadata():set("sori", "tus_method", method)
  end
  local adapted = expand_view(decode_verb(path))
  if adapted ~= path then handle:headers():replace(":path", adapted) end
end

-- A header that a service sends with an error. It is in the trailers if the service had
-- already sent its headers; waiting for the short body delays our headers until then.
local function error_header(handle, name)
  local value = handle:headers():get(name)
  if not value and handle:body() then
    local trailers = handle:trailers()
    value = trailers and trailers:get(name)
  end
  return value
end

-- The HTTP status that a service requests for an error.
local function requested_error_status(handle)
  local status = error_header(handle, "x-http-code")
  return status and status:match("^[45]%d%d$")
end

local function add_retry_after(handle)
  local seconds = error_header(handle, "retry-after")
  if seconds then handle:headers():replace("retry-after", seconds) end
end

-- A redirection that a service requests.
local function requested_redirection(headers)
  local status = headers:get("x-http-code")
  return status and headers:get("location") and status:match("^30[237]$")
end

-- The HTTP status that a service requests for a success. Such a response has no body.
local function requested_success_status(headers)
  local status = headers:get("x-http-code")
  if not status or not status:match("^20%d$") then return end
  headers:remove("content-type")
  if status == "204" then headers:remove("content-length") end
  return status
end

-- What the request left for the response.
local function remembered(handle)
  return handle:streamInfo():dynamicMetadata():get("sori") or {}
end

-- The transcoder adds a body to errors, even in response to HEAD.
local function drop_body(handle)
  local body = handle:body()
  if body then body:setBytes("") end
  handle:headers():replace("content-length", "0")
  handle:headers():remove("content-type")
end

-- The response to HEAD states the length that the body of GET has.
local function drop_body_of_get(handle)
  local body = handle:body()
  if not body then
    -- Envoy left it out itself, and did not compress it.
    handle:headers():remove("content-length")
    return
  end
  local length = body:length()
  body:setBytes("")
  if handle:headers():get("content-encoding") then
    handle:headers():remove("content-length")
  else
    handle:headers():replace("content-length", tostring(length))
  end
end

-- Whether the client has the resource already. `If-None-Match` lists etags, which may be weak.
local function is_unchanged(headers, etags)
  local etag = (headers:get("etag") or ""):match('"[^"]*"')
  if not etag or headers:get(":status") ~= "200" then return false end
  if etags:match("^%s*%*%s*$") then return true end
  for each in etags:gmatch('"[^"]*"') do
    if each == etag then return true end
  end
  return false
end

local function respond_unchanged(handle)
  local body = handle:body()
  if body then body:setBytes("") end
  for _, name in ipairs({ "content-length", "content-type", "content-encoding" }) do
    handle:headers():remove(name)
  end
  handle:headers():replace(":status", "304")
end

local RETRY_AFTER = { ["429"] = "1", ["503"] = "2" }

-- Headers of every response.
local function add_common_headers(headers)
  local function default(name, value)
    if not headers:get(name) then headers:add(name, value) end
  end
  headers:replace("x-content-type-options", "nosniff")
  default("referrer-policy", "no-referrer")
  -- A cache must ask again, and must not serve one learner's result to another.
  default("cache-control", "private, no-cache")
  if USES_TLS then headers:replace("strict-transport-security", "max-age=31536000") end
  if USES_CORS then headers:add("vary", "origin") end
  local pause = RETRY_AFTER[headers:get(":status")]
  if pause then default("retry-after", pause) end
end

local function add_prefix(headers, prefix)
  local location = headers:get("location")
  if location and location:sub(1, 1) == "/" then
    headers:replace("location", prefix .. location)
  end
end

-- Local replies need the version, too.
local function add_tus_version(headers)
  headers:replace("tus-resumable", TUS_VERSION)
  headers:replace("tus-version", TUS_VERSION)
end

local function is_event_stream(headers)
  return (headers:get("content-type") or ""):sub(1, 17) == "text/event-stream"
end

-- The transcoder passes on whole events. JSON escapes quotes, so no text can look like a status.
local function name_last_event(handle)
  for chunk in handle:bodyChunks() do
    local events = chunk:getBytes(0, chunk:length())
    for _, status in ipairs({ "completed", "failed" }) do
      local start = 'data: {"status":"' .. status .. '"'
      local at = events:find(start, 1, true)
      if at then
        chunk:setBytes(events:sub(1, at - 1) .. "id: " .. LAST_EVENT .. "\n" .. events:sub(at))
        break
      end
    end
  end
end

function envoy_on_response(handle)
  if is_grpc(handle:headers()) then return end
  local request = remembered(handle)
  local method = request.tus_method
  local status
  if tonumber(handle:headers():get(":status")) >= 400 then
    status = requested_error_status(handle)
    add_retry_after(handle)
  elseif method then
    status = requested_success_status(handle:headers())
  else
    status = requested_redirection(handle:headers())
  end
  if status then handle:headers():replace(":status", status) end
  if method == "HEAD" then drop_body(handle) end
  if method then add_tus_version(handle:headers()) end
  if request.etags and is_unchanged(handle:headers(), request.etags) then
    respond_unchanged(handle)
  end
  if request.is_head then drop_body_of_get(handle) end
  if request.content_type then
    handle:headers():replace("content-type", request.content_type)
  end
  if request.prefix then add_prefix(handle:headers(), request.prefix) end
  remove_internal(handle:headers())
  add_common_headers(handle:headers())
  if is_event_stream(handle:headers()) and not request.content_type then
    handle:headers():replace("cache-control", "no-cache")
    handle:headers():replace("x-accel-buffering", "no")
    name_last_event(handle)
  end
  local trailers = handle:trailers()
  if trailers then remove_internal(trailers) end
end
