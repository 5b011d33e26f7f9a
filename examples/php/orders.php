#!/usr/bin/env php
<?php
// Order messages through Sluice, with nothing but PHP 8.1 or newer. webhook.php receives the statuses.
declare(strict_types=1);

require __DIR__ . '/seen.php';

const USAGE = <<<'TEXT'
    usage:
      orders.php place ORDER PHONE   sends "we got your payment"
      orders.php ship ORDER PHONE    sends "it is on its way", after the message of place was delivered
      orders.php watch               reads how each message ended, and reacts

    TEXT;

const SHOP = 'shop-php'; // the tag of our messages, and the name of our cursor

/** Sluice refused a request, and would refuse it again. $problem says why, and what to correct. */
final class Refused extends Exception
{
    public function __construct(public readonly array $problem)
    {
        parent::__construct("Sluice refused the request: {$problem['detail']}");
    }
}

/**
 * Makes a request and returns the answer. Without a clear answer it tries again: the request may have arrived, and a
 * message with the same key is not sent twice.
 */
function call(string $method, string $path, ?array $body = null): array
{
    $url = (getenv('SLUICE_API') ?: 'http://127.0.0.1:8080') . $path;
    $context = stream_context_create(['http' => [
        'method' => $method,
        'header' => ['Authorization: Bearer ' . getenv('SLUICE_API_KEY'), 'Content-Type: application/json'],
        'content' => $body === null ? '' : json_encode($body, JSON_THROW_ON_ERROR),
        'timeout' => 60,
        'ignore_errors' => true, // read the answers of refusals too
    ]]);
    foreach ([1, 2, 4, 8, 16] as $pause) {
        $stream = @fopen($url, 'r', false, $context);
        if ($stream !== false) {
            $status = (int) explode(' ', stream_get_meta_data($stream)['wrapper_data'][0])[1];
            $answer = json_decode((string) stream_get_contents($stream), true);
            if (is_array($answer) && $status < 300) {
                return $answer;
            }
            if (is_array($answer) && $status < 500 && !in_array($status, [408, 429], true)) {
                throw new Refused($answer);
            }
        }
        sleep($pause); // no connection, no complete answer, or "later"
    }
    throw new Exception('Sluice does not answer. Run the same command again later: it sends nothing twice.');
}

function send(string $order, string $phone, string $event, ?string $after = null): void
{
    // The key is made from the order, not at random. So a double click, a retry or a second run is the same message.
    $key = "order-$order-$event";
    $request = [
        'from' => getenv('PHONE_NUMBER_ID'),
        'key' => $key,
        'ref' => $key, // every event of the message has it
        'tags' => [SHOP],
        'class' => 'utility',
        'message' => [
            'to' => $phone,
            'type' => 'template', // the only type that Meta accepts when the customer has not written in the last 24 hours
            'template' => [
                'name' => "order_$event",
                'language' => ['code' => 'en_US'],
                'components' => [['type' => 'body', 'parameters' => [['type' => 'text', 'text' => $order]]]],
            ],
        ],
    ];
    if ($after !== null) {
        $request['after'] = ['key' => "order-$order-$after", 'state' => 'delivered'];
    }
    $answer = call('POST', '/v1/messages', $request);
    echo "$key: ", $answer['duplicate'] ? 'duplicate' : 'accepted', " {$answer['id']}\n";
}

/** Reads the final events of our messages: one for each message that has ended. */
function watch(): never
{
    $query = ['cursor_name' => SHOP, 'tag' => SHOP, 'type' => 'final', 'from' => 'oldest', 'wait' => '30s'];
    while (true) {
        try {
            $page = call('GET', '/v1/events?' . http_build_query($query));
        } catch (Refused $refused) {
            if ($refused->problem['code'] !== 'cursor_too_old') {
                throw $refused;
            }
            // This program was stopped for longer than Sluice keeps events. Continue with the oldest event that is available.
            echo "events were dropped: read the open orders with GET /v1/messages\n";
            $query['cursor'] = $refused->problem['first_cursor'];
            continue;
        }
        foreach ($page['events'] as $event) {
            // An event can come twice, for example if this program was stopped before its next request.
            if (first(json_encode($event))) {
                react($event['message']['ref'], $event['final']);
            }
        }
        $query['cursor'] = $page['cursor']; // the next request acknowledges this page
    }
}

function react(string $ref, array $final): void
{
    echo match ($final['result']) {
        'delivered' => "$ref: delivered\n",
        // It is certain that the message was not delivered, so the customer does not get the news twice.
        'not_delivered' => "$ref: fallback by SMS: {$final['text']}\n",
        // The message may have been delivered. A program cannot find out: a person decides.
        default => "$ref: a person must ask the customer: {$final['text']}\n",
    };
}

try {
    match (true) {
        $argc === 4 && $argv[1] === 'place' => send($argv[2], $argv[3], 'paid'),
        $argc === 4 && $argv[1] === 'ship' => send($argv[2], $argv[3], 'shipped', 'paid'),
        $argc === 2 && $argv[1] === 'watch' => watch(),
        default => throw new Exception(USAGE),
    };
} catch (Exception $e) {
    fwrite(STDERR, $e->getMessage() . "\n");
    exit(1);
}
