<?php
// What the plugin of docs/shops.md needs of WordPress, WooCommerce and Action Scheduler. HTTP is real. Orders and jobs are in state.json.
//   php wordpress.php change ORDER STATUS   changes the status of an order
//   php wordpress.php jobs                  runs each waiting job once
//   php wordpress.php sweep                 runs the sweep
//   php -S ADDRESS wordpress.php            serves the REST routes
declare(strict_types=1);

const MINUTE_IN_SECONDS = 60;
const HOUR_IN_SECONDS = 3600;
const DAY_IN_SECONDS = 86400;
foreach (['SLUICE_API' => 'SLUICE_API', 'SLUICE_API_KEY' => 'SLUICE_API_KEY', 'PHONE_NUMBER_ID' => 'SLUICE_PHONE_NUMBER_ID', 'WEBHOOK_SECRET' => 'SLUICE_WEBHOOK_SECRET'] as $variable => $constant) {
    define($constant, getenv($variable));
}

$lock = fopen(__DIR__ . '/lock', 'c'); // one process at a time
flock($lock, LOCK_EX);
$state = json_decode(file_get_contents(__DIR__ . '/state.json'), true);
$hooks = $routes = [];
register_shutdown_function(fn () => file_put_contents(__DIR__ . '/state.json', json_encode($GLOBALS['state'])));

function add_action(string $hook, callable|string $function, int $priority = 10, int $arguments = 1): void
{
    $GLOBALS['hooks'][$hook][] = [$function, $arguments];
}

function do_action(string $hook, mixed ...$arguments): void
{
    foreach ($GLOBALS['hooks'][$hook] ?? [] as [$function, $n]) {
        $function(...array_slice($arguments, 0, $n));
    }
}

function as_enqueue_async_action(string $hook, array $arguments, string $group): void
{
    $GLOBALS['state']['jobs'][] = [$hook, $arguments];
}

function as_schedule_single_action(int $at, string $hook, array $arguments, string $group): void
{
    $GLOBALS['state']['jobs'][] = [$hook, $arguments];
}

function as_schedule_recurring_action(int $at, int $every, string $hook, array $arguments, string $group): void
{
    $GLOBALS['state']['recurring'][] = $hook;
}

function as_has_scheduled_action(string $hook): bool
{
    return in_array($hook, $GLOBALS['state']['recurring'] ?? [], true);
}

final class Order
{
    public function __construct(private readonly string $id)
    {
    }

    public function __call(string $method, array $arguments): mixed
    {
        $order = &$GLOBALS['state']['orders'][$this->id];
        return match ($method) {
            'get_id' => (int) $this->id,
            'get_order_number' => $this->id,
            'get_status' => $order['status'],
            'get_billing_phone' => $order['phone'],
            'get_billing_country' => 'US',
            'get_meta' => $order['meta'][$arguments[0]] ?? '',
            'update_meta_data' => $order['meta'][$arguments[0]] = $arguments[1],
            'save_meta_data' => null,
            'add_order_note' => $order['notes'][] = $arguments[0],
        };
    }
}

function wc_get_order(int|string $id): Order|false
{
    return isset($GLOBALS['state']['orders'][$id]) ? new Order((string) $id) : false;
}

function wc_get_orders(array $query): array
{
    $found = array_filter($GLOBALS['state']['orders'], fn ($o) => in_array($o['status'], $query['status'], true));
    return array_map('wc_get_order', array_keys($found));
}

function WC(): object
{
    return (object) ['countries' => new class {
        public function get_country_calling_code(string $country): string
        {
            return ['US' => '+1'][$country];
        }
    }];
}

function wp_json_encode(mixed $value): string
{
    return json_encode($value, JSON_THROW_ON_ERROR);
}

function wp_remote_post(string $url, array $options): ?array
{
    $headers = array_map(fn ($name, $value) => "$name: $value", array_keys($options['headers']), $options['headers']);
    $context = stream_context_create(['http' => ['method' => 'POST', 'header' => $headers, 'content' => $options['body'], 'timeout' => $options['timeout'], 'ignore_errors' => true]]);
    $stream = @fopen($url, 'r', false, $context);
    if ($stream === false) {
        return null;
    }
    return ['code' => (int) explode(' ', stream_get_meta_data($stream)['wrapper_data'][0])[1], 'body' => stream_get_contents($stream)];
}

function wp_remote_retrieve_response_code(?array $response): int|string
{
    return $response['code'] ?? '';
}

function wp_remote_retrieve_body(?array $response): string
{
    return $response['body'] ?? '';
}

function register_rest_route(string $namespace, string $route, array $options): void
{
    $GLOBALS['routes']["{$options['methods']} /wp-json/$namespace$route"] = $options;
}

final class Request
{
    public function get_body(): string
    {
        return file_get_contents('php://input');
    }

    public function get_header(string $name): ?string
    {
        return $_SERVER['HTTP_' . strtoupper(strtr($name, '-', '_'))] ?? null;
    }

    public function get_json_params(): array
    {
        return json_decode($this->get_body(), true);
    }
}

add_action('shop_send_sms', function (int $order, string $status): void {
    $GLOBALS['state']['sms'][] = [$order, $status];
}, 10, 2);
require __DIR__ . '/sluice.php';
do_action('init');

if (PHP_SAPI === 'cli-server') {
    do_action('rest_api_init');
    $route = $routes["{$_SERVER['REQUEST_METHOD']} {$_SERVER['REQUEST_URI']}"] ?? null;
    if (!$route || !$route['permission_callback'](new Request())) {
        http_response_code($route ? 403 : 404);
        exit;
    }
    echo json_encode($route['callback'](new Request()));
    exit;
}
switch ($argv[1]) {
    case 'change':
        $from = $state['orders'][$argv[2]]['status'];
        $state['orders'][$argv[2]]['status'] = $argv[3];
        do_action('woocommerce_order_status_changed', (int) $argv[2], $from, $argv[3], wc_get_order($argv[2]));
        break;
    case 'jobs':
        $jobs = $state['jobs'];
        $state['jobs'] = [];
        foreach ($jobs as [$hook, $arguments]) {
            do_action($hook, ...$arguments);
        }
        break;
    case 'sweep':
        do_action('sluice_sweep');
        break;
}
